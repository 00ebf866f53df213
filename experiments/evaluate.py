"""Scores a run, or images of any code: python -m experiments.evaluate --workdir=runs/dcgan --metrics=frechet,kid

Prints a table of the scores with their intervals, floors and protocol. Each score is also a JSON line: those of a run
are appended to its evaluations.jsonl, and --json prints them in place of the table.

  --workdir=RUN [--checkpoint=best,last] [--metrics=frechet,kid,prdc] [--num_samples=10000] [--features=classifier]
  --workdir=RUN --reconstructions --metrics=psnr,frechet   a VAE's reconstructions of the split against their originals
  --samples=FILES --reference=fashion_mnist    images in a folder, archive or array, against a data set or other FILES
  --compare A B ...                                     a table of scores in workdirs or files of such lines

The metrics are listed in common/evaluation/metrics/catalogue.py, and an unknown name lists them. "kid" stands for
kernel_distance, "prdc" for precision_recall and density_coverage; "model", the default, is what the model itself
reports on the split. Settings: --metrics="{'kernel_distance': {'mode': 'torch_fidelity'}, 'frechet': {}}". Restored
pictures stand beside what they were restored from and, where scikit-image is installed (pip install '.[classical]'),
beside the result of a classical method.
"""

import ast
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

from common.errors import ConfigError
from configs import recipes
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
  flags.DEFINE_string("workdir", "", "directory of the run")
  flags.DEFINE_list("checkpoint", ["last"], "last, best, or the number of a step; several with commas")
  flags.DEFINE_string("metrics", "model", "what to measure: names with commas, or {name: {setting: value}}")
  flags.DEFINE_integer("num_samples", 10000, "number of samples", lower_bound=1)
  flags.DEFINE_integer("num_real", 0, "use only the first N images of the split; 0 for all", lower_bound=0)
  flags.DEFINE_string(
    "features", "classifier", "classifier[:NAME or FILE], inception[:FILE], random[:SEED], pixels, module:function"
  )
  flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "which split of the data set")
  flags.DEFINE_string("data_dir", "", "where the data set lies; empty: where it was in training, or the usual places")
  flags.DEFINE_string("samples", "", "images to score: a folder, a zip or tar archive, or a .npz or .npy file")
  flags.DEFINE_string("reference", None, f"the real images for --samples: files, or {', '.join(recipes.DATASETS)}")
  resizes = ["none", "pad", "crop", "stretch"]
  flags.DEFINE_enum("resize", "none", resizes, "how real images got the size of --samples, if it is not their own")
  flags.DEFINE_enum("background", "white", ["white", "black"], "behind transparent images of --samples")
  flags.DEFINE_bool("raw", False, "use the weights as trained, not their average")
  flags.DEFINE_float("truncation", 0.0, "largest absolute value of N(0, I) latents; 0 for no bound", lower_bound=0.0)
  flags.DEFINE_string("batch_norm", "running", "whose statistics BatchNorm uses: running or standing")
  flags.DEFINE_bool("reconstructions", False, "score a VAE's reconstructions of the split in the place of its samples")
  flags.DEFINE_string("prior", "", "workdir of a density of a VAE's latents that replaces its prior")
  flags.DEFINE_bool("floor", True, "also score real training images: what a perfect generator would get")
  flags.DEFINE_integer("seed", 0, "of samples, subsets and draws", lower_bound=0, upper_bound=2**32 - 1)
  flags.DEFINE_string("feature_cache", None, "directory of real images' features; empty: none; default: user's cache")
  flags.DEFINE_bool("json", False, "print a JSON line for each score as it comes, in place of the table")
  flags.DEFINE_list("compare", [], "workdirs, or files of lines like those of evaluations.jsonl")
  flags.DEFINE_list("ignore", [], "fields of the protocol that --compare ranks across")


SETTINGS = (
  "features", "split", "num_samples", "num_real", "seed", "truncation", "batch_norm", "reconstructions", "prior",
  "floor", "data_dir", "feature_cache",
)  # fmt: skip
ONLY_FOR = {
  **dict.fromkeys(
    ("checkpoint", "num_samples", "raw", "truncation", "batch_norm", "reconstructions", "prior"), "workdir"
  ),
  **dict.fromkeys(("reference", "resize", "background"), "samples"),
  "ignore": "compare",
}


def main() -> int:
  given = [name for name in ("workdir", "samples", "compare") if FLAGS[name].value]
  if not given:
    raise ConfigError("--workdir=RUN is missing; or give images (--samples=PATH) or records (--compare A B)")
  if len(given) > 1:
    raise ConfigError(f"give one of --workdir, --samples and --compare, not --{' and --'.join(given)}")
  for name, of in ONLY_FOR.items():
    if FLAGS[name].present and of not in given:
      raise ConfigError(f"--{name} is for --{of}, and has no effect on --{given[0]}; leave it out")
  if FLAGS.compare:
    from experiments.scores.comparison import compare

    return compare([Path(path) for path in FLAGS.compare], FLAGS.ignore)
  if FLAGS.workdir:
    command_line.required("checkpoint")
    command_line.check_writable("workdir", Path(FLAGS.workdir), "score a copy of the run")
  metrics = _metrics_of_flag()
  if FLAGS.samples and not FLAGS.reference:
    raise ConfigError(f"--samples needs --reference, one of {', '.join(recipes.DATASETS)}")

  from common.training.log import Status
  from experiments import api
  from experiments.command_line import compilation_cache

  status = Status(enabled=True)
  compilation_cache.start(status)
  records: list[dict[str, Any]] = []
  options: dict[str, Any] = {
    **{name: FLAGS[name].value for name in SETTINGS},
    "ema": not FLAGS.raw,
    "say": status,
    "emit": (lambda line: print(json.dumps(line), flush=True)) if FLAGS.json else records.append,
  }
  try:
    if FLAGS.samples:
      shown = {"resize": FLAGS.resize, "background": FLAGS.background}
      api.evaluate_files(FLAGS.samples, FLAGS.reference, metrics, **shown, **options)
    else:
      api.evaluate(FLAGS.workdir, metrics, checkpoint=",".join(FLAGS.checkpoint), **options)
  finally:  # scores that were measured before an error are shown
    if records:
      print(api.table(records))
  return 0


def _metrics_of_flag() -> str | dict[str, Any]:
  """Returns --metrics: names with commas, or {name: {setting: value}}; ConfigError: a text that is neither."""
  text = FLAGS.metrics.strip()
  if not text.startswith("{"):
    return text
  try:
    parsed = ast.literal_eval(text)
  except (ValueError, SyntaxError):
    parsed = None
  if not isinstance(parsed, Mapping) or not all(isinstance(value, Mapping) for value in parsed.values()):
    raise ConfigError(f"--metrics={text} is not {{'name': {{'setting': value}}}}")
  return {str(name): dict(value) for name, value in parsed.items()}


def join_compared(words: list[str]) -> list[str]:
  """Turns ``--compare A B C`` into ``--compare=A,B,C``, which absl understands."""
  joined: list[str] = []
  for word in words:
    if joined and not word.startswith("-") and joined[-1].lstrip("-").startswith("compare"):
      joined[-1] += ("," if "=" in joined[-1] else "=") + word
    else:
      joined.append(word)
  return joined


if __name__ == "__main__":
  sys.argv = join_compared(sys.argv)
  command_line.run(main, __doc__, define_flags)
