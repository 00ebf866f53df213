"""A linear classifier on D's features (Radford et al. 2015, Section 5.1): python -m experiments.probe --workdir=RUN

The features are the outputs of the discriminator's convolutions (after BatchNorm with running statistics and the
activation), each max-pooled to 4x4. A linear L2-SVM is trained on the training split, its weight decay is chosen on the
validation split, and its accuracy is that on the test split. Two floors are scored with it: the same classifier on the
network as this run initialised it, and on the pixels. For a VAE the features are those of its encoder.

Prints a table, or JSON lines with --json; in both cases the lines are appended to the run's evaluations.jsonl under the
names linear_probe, linear_probe_untrained and linear_probe_pixels. The features of the training split and of one other
split are held in memory as float16; --num_train=N uses the first N training images only.
"""

import json
from pathlib import Path
from typing import Any

from absl import flags

from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
  flags.DEFINE_string("workdir", "", "directory of the run")
  flags.DEFINE_string("checkpoint", "last", "last, best, or the number of a step")
  flags.DEFINE_integer("num_train", 0, "use only the first N training images; 0 for all", lower_bound=0)
  flags.DEFINE_bool("floors", True, "also score the untrained network and the pixels")
  flags.DEFINE_integer("memory_mb", 2048, "limit on the memory for features; checked before any work", lower_bound=1)
  flags.DEFINE_string("data_dir", "", "where the data set lies now; empty for where it was in training")
  flags.DEFINE_bool("json", False, "print each score as a JSON line as it comes, for scripts, instead of the table")


def main() -> int:
  command_line.required("workdir")
  command_line.check_writable("workdir", Path(FLAGS.workdir), "probe a copy of the run")

  from common import parallel
  from common.evaluation import records
  from common.training.log import Status
  from experiments.command_line import compilation_cache
  from experiments.latents.probing import probe
  from experiments.loading import load_run
  from experiments.scores import table as score_table

  status = Status(enabled=True)
  compilation_cache.start(status)
  workdir, mesh = Path(FLAGS.workdir), parallel.make_mesh()
  with status.phase("restoring"):
    run = load_run(workdir, FLAGS.checkpoint, mesh)
  for note in run.notes:
    status.line(note)
  options: dict[str, Any] = {name: FLAGS[name].value for name in ("data_dir", "num_train", "floors", "memory_mb")}
  lines = []
  for line in probe(run, workdir, FLAGS.checkpoint, mesh, status, **options):
    records.append(workdir, line)
    lines.append(line)
    if FLAGS.json:
      print(json.dumps(line), flush=True)
  if not FLAGS.json:
    print(score_table.table(lines))
  return 0


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
