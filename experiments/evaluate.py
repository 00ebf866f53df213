"""Scores a run on a split: python -m experiments.evaluate --workdir=runs/vae [--checkpoint=best] [--split=test]

Prints one JSON line with the scores and their protocol, and appends it to evaluations.jsonl in the workdir.
"""

import json
from pathlib import Path

from absl import flags

from common.build import ConfigError
from experiments import flags as command_line

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", "", "directory of the run")
flags.DEFINE_string("checkpoint", "last", "last, best, or the number of a step")
flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "which split of the run's data set")
flags.DEFINE_string("data_dir", "", "where the data set lies now; empty for where it was in training")


def main() -> int:
  command_line.required("workdir")

  from common import parallel
  from common.algorithm import Generative
  from common.data.dataset import open_dataset
  from common.evaluate import Evaluator
  from common.log import Status
  from experiments import compilation_cache
  from experiments.restore import restore

  status, workdir = Status(enabled=True), Path(FLAGS.workdir)
  compilation_cache.start(status)
  mesh = parallel.make_mesh()
  with status.phase("restoring"):
    run = restore(workdir, FLAGS.checkpoint, mesh)
  for note in run.notes:
    status.line(note)
  config = run.config
  if FLAGS.split == "train" and config.data.binarize != "none":
    raise ConfigError(
      f'--split=train: config.data.binarize="{config.data.binarize}" draws training pixels anew at every use; '
      "use --split=validation or test, which are drawn once"
    )
  with config.unlocked():
    if FLAGS.data_dir:
      config.data.dir = FLAGS.data_dir
    config.parallel.mode = "jit"  # running statistics: every mode gives the same scores
  dataset = open_dataset(config.data)
  if dataset.spec != run.spec:
    raise ConfigError(f"the data set is not the one that {workdir} was trained on: {dataset.spec} against {run.spec}")
  split = getattr(dataset, FLAGS.split)
  with status.phase("evaluating"):
    evaluator = Evaluator(run.algorithm, run.spec, config, mesh)
    scores = evaluator(run.state, evaluator.feed(split))
  record = {
    **scores,
    "protocol": {
      "dataset": config.data.name,
      "split": config.data[f"{FLAGS.split}_split"],
      "n": len(split),
      "image_shape": run.spec.image_shape,
      "binarize": config.data.binarize,
      "dequantize": config.data.dequantize,
      "weights": "ema" if config.ema.decay else "raw",
      "batch_norm": "running statistics",
      **({"draws": "one of z for each image"} if isinstance(run.algorithm, Generative) else {}),
      "seed": config.seed,
      "step": run.step,
      "checkpoint": FLAGS.checkpoint,
    },
  }
  line = json.dumps(record)
  with (workdir / "evaluations.jsonl").open("a", encoding="utf-8") as file:
    file.write(line + "\n")
  print(line)
  return 0


if __name__ == "__main__":
  command_line.run(main, __doc__)
