"""How sample metrics answer to known damage: python -m experiments.metric_response --out=runs/response

Real training pictures stand in for a generator's and are blurred, made noisy, robbed of classes, or replaced by copies
of the reference, each at growing strength; and undamaged ones are scored at growing numbers, which shows the bias of
each metric. Writes response.json, response.md and response.png.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from common import files
from common.errors import ConfigError
from configs import recipes, schema
from experiments import damage
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS

SHARES = (0.1, 0.2, 0.5, 1.0)  # of num_samples, for the bias curve: 1k, 2k, 5k, 10k


def define_flags() -> None:
  flags.DEFINE_string("dataset", "fashion_mnist", f"one of {', '.join(recipes.DATASETS)}")
  flags.DEFINE_string("data_dir", "", "where it lies; empty for the usual places")
  flags.DEFINE_string("features", "classifier", "as in experiments.evaluate")
  flags.DEFINE_list(
    "metrics",
    [
      "frechet",
      "kernel_distance",
      "inception_score",
      "precision_recall",
      "density_coverage",
      "memorisation",
      "sliced_wasserstein",
      "nearest_neighbour_test",
      "parzen",
      "ms_ssim",
      "intra_frechet",
      "label_agreement",
      "linear_accuracy",
      "nearest_neighbour_error",
    ],
    "metrics of pictures",
  )
  flags.DEFINE_integer(
    "num_samples", 10000, "pictures on each side, and the largest number of the bias curve", lower_bound=2
  )
  flags.DEFINE_integer("seed", 0, "of noise, choice and subsets", lower_bound=0)
  flags.DEFINE_string("out", "", "directory for the results")


def main() -> int:
  command_line.required("out")
  out = Path(FLAGS.out)
  command_line.make_directory("out", out)
  if FLAGS.dataset not in recipes.DATASETS:
    raise ConfigError(f'--dataset="{FLAGS.dataset}" is not one of {", ".join(recipes.DATASETS)}')

  from common import parallel
  from common.evaluation.features.embed import Embedder
  from common.evaluation.features.extractor import Context, open_extractor
  from common.evaluation.metrics.catalogue import SAMPLE_METRICS, build_metrics
  from common.evaluation.metrics.score import SampleSet
  from common.evaluation.sample_scores import open_reference, read, real
  from common.training.log import Status
  from experiments.command_line import compilation_cache

  status = Status(enabled=True)
  compilation_cache.start(status)
  config = schema.get_config()
  recipes.use_dataset(config, FLAGS.dataset)
  config.data.dir = FLAGS.data_dir
  dataset = open_reference(config.data)
  if not dataset.source.num_classes:
    raise ConfigError(f"--dataset={FLAGS.dataset} has no labels, and one kind of damage drops classes; take another")
  num = FLAGS.num_samples
  reference, clean = real(dataset.test, min(num, len(dataset.test))), real(dataset.train, min(num, len(dataset.train)))
  context = Context(dataset.image_shape, dataset.source.kind, config.data.name)
  extractor = open_extractor(FLAGS.features, context)
  embedder = Embedder(extractor, parallel.make_mesh())
  assert clean.labels is not None and reference.labels is not None
  metrics = build_metrics(SAMPLE_METRICS, {name: {} for name in FLAGS.metrics}, "metrics")

  def scores(against: SampleSet, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """{score: (value, standard error), or None where it is not defined for these pictures}."""
    fake = embedder(images, labels)
    found: dict[str, Any] = {}
    for metric in metrics.values():
      try:
        found |= {name: (s.value, s.standard_error) for name, s in metric(against, fake, FLAGS.seed).items()}
      except ValueError as error:
        status.line(f"{', '.join(metric.better)}: {error}")
        found |= dict.fromkeys(metric.better)
    return found

  whole = embedder(reference.images, reference.labels)
  accuracy = None if extractor.accuracy is None else read(extractor, whole)
  curves: dict[str, list[dict[str, Any]]] = {}
  with status.phase("scoring damaged pictures"):
    for change, strengths in damage.STRENGTHS.items():
      curves[change] = []
      for strength in strengths:
        generator = np.random.Generator(np.random.Philox(FLAGS.seed))
        if change in damage.CHANGES:
          images, labels = damage.CHANGES[change](clean.images, clean.labels, strength, generator)
        else:
          copies = generator.permutation(min(len(clean), len(reference)))[: round(strength * len(reference))]
          images, labels = clean.images.copy(), clean.labels.copy()
          images[copies], labels[copies] = reference.images[copies], reference.labels[copies]
        curves[change].append({"strength": strength, "scores": scores(whole, images, labels)})
        status.line(f"{change} {strength:g}: done")
    curves["number"] = []
    for few in [round(share * len(clean)) for share in SHARES]:
      logits = None if whole.logits is None else whole.logits[:few]
      part = SampleSet(whole.images[:few], whole.features[:few], logits, reference.labels[:few])
      curves["number"].append({"strength": few, "scores": scores(part, clean.images[:few], clean.labels[:few])})
      status.line(f"{few} pictures on each side: done")
  better = {name: end for metric in metrics.values() for name, end in metric.better.items()}
  result = {
    "dataset": FLAGS.dataset, "extractor": extractor.name, "extractor_accuracy_real": accuracy,
    "n_real": len(reference), "n_fake": len(clean),
    "seed": FLAGS.seed, "better": better, "curves": curves, "verdicts": damage.verdicts(curves, better),
  }  # fmt: skip
  files.write(out / "response.json", json.dumps(result, indent=1) + "\n")
  files.write(out / "response.md", damage.document(result))
  try:
    damage.draw(result, out / "response.png")
  except ImportError:
    status.line("no response.png: matplotlib is not installed (pip install -e '.[benchmark]')")
  print(damage.document(result))
  return 0


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
