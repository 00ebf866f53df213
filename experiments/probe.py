"""How much D's features say of classes (Radford et al. 2015, Section 5.1): python -m experiments.probe --workdir=RUN

Takes what each convolution of the discriminator passes on (after BatchNorm with running statistics, and activation),
max-pools each map to 4x4, and lays them side by side; a linear L2-SVM learns the training labels from them. Its weight
decay is chosen on the validation split, its accuracy is that on the test split. Beside it stand two floors: the same
classifier on the network as this run initialised it, and on the pixels. Of a VAE it is the encoder's convolutions.

Prints a table; --json prints JSON lines in its place, which are appended to the run's evaluations.jsonl in any case:
linear_probe, linear_probe_untrained, linear_probe_pixels.
Features are held as float16, 2 bytes each, of the training split and one other; --num_train=N takes the first N
training pictures only.
"""

import json
import math
from pathlib import Path

from absl import flags

from common.errors import ConfigError
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
  flags.DEFINE_string("workdir", "", "directory of the run")
  flags.DEFINE_string("checkpoint", "last", "last, best, or the number of a step")
  flags.DEFINE_integer("num_train", 0, "use only the first N training images; 0 for all", lower_bound=0)
  flags.DEFINE_bool("floors", True, "the untrained network and the pixels too")
  flags.DEFINE_integer("memory_mb", 2048, "what the features may take; more is an error before any work", lower_bound=1)
  flags.DEFINE_string("data_dir", "", "where the data set lies now; empty for where it was in training")
  flags.DEFINE_bool("json", False, "print a JSON line for each score as it comes, for scripts, in the table's place")


def main() -> int:
  command_line.required("workdir")
  command_line.check_writable("workdir", Path(FLAGS.workdir), "probe a copy of the run")

  from common import parallel
  from common.evaluation import records
  from common.training.log import Status
  from experiments import score_table
  from experiments.command_line import compilation_cache
  from experiments.probing import Probe
  from experiments.restore import restore

  status = Status(enabled=True)
  compilation_cache.start(status)
  workdir, mesh = Path(FLAGS.workdir), parallel.make_mesh()
  with status.phase("restoring"):
    run = restore(workdir, FLAGS.checkpoint, mesh)
  for note in run.notes:
    status.line(note)
  probe = Probe(run, workdir, FLAGS.checkpoint, mesh, data_dir=FLAGS.data_dir, num_train=FLAGS.num_train)
  kinds = probe.kinds if FLAGS.floors else probe.kinds[:1]
  for kind in kinds:
    needed = probe.megabytes(kind)
    if needed > FLAGS.memory_mb:
      raise ConfigError(
        f"{probe.num_rows:,} x {probe.dim(kind):,} features take {needed:,.0f} MB, more than "
        f"--memory_mb={FLAGS.memory_mb}; raise it to --memory_mb={math.ceil(needed)}, or take fewer "
        "pictures with --num_train"
      )
  found = []
  for kind in kinds:
    line = probe.record(kind, status)
    records.append(workdir, line)
    found.append(line)
    if FLAGS.json:
      print(json.dumps(line), flush=True)
  if not FLAGS.json:
    print(score_table.table(found))
  return 0


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
