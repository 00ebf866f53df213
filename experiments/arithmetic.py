"""Arithmetic on latents (Radford et al. 2015, Section 6.3.2):
python -m experiments.arithmetic --workdir=runs/dcgan --terms=9-7+5

For a term "7", --average=3 latents are chosen from --num samples: those whose images a classifier names class 7 with
the highest odds. A term is the mean of its latents, and the sum of the terms is decoded. In the picture each column is
a term, with the exemplars above the image of their mean; at the right the result stands amid eight neighbours, which
are the sum with noise from U[-0.25, 0.25). Nothing moves the sum back to where the prior is: for latents in [-1, 1) it
may leave the cube. No data set is needed, but a classifier is.

For a GAN or VAE without labels; with labels, experiments.sample --labels draws a class.
"""

import re
from pathlib import Path

from absl import flags

from common.errors import ConfigError
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
  flags.DEFINE_string("workdir", "", "directory of the run")
  flags.DEFINE_string("terms", "", "classes by number with their signs, as in 9-7+5")
  flags.DEFINE_integer("average", 3, "number of exemplars for each term", lower_bound=1)
  flags.DEFINE_integer("num", 2048, "number of pictures that the exemplars are chosen from", lower_bound=1)
  flags.DEFINE_float("noise", 0.25, "largest distance of a neighbour from the result in each coordinate", lower_bound=0)
  flags.DEFINE_string("features", "classifier", "what names the classes: classifier[:NAME or FILE], module:function")
  flags.DEFINE_string("checkpoint", "last", "last, best, or the number of a step")
  flags.DEFINE_bool("raw", False, "use the weights as trained, not their average")
  flags.DEFINE_integer("seed", 0, "seed of latents and noise", lower_bound=0, upper_bound=2**32 - 1)
  flags.DEFINE_string("out", "", "the .png to write; empty for a name in the workdir")


def main() -> int:
  command_line.required("workdir")
  command_line.required("terms")
  terms = _terms(FLAGS.terms)
  out = Path(FLAGS.out or Path(FLAGS.workdir) / f"arithmetic{FLAGS.terms}-seed{FLAGS.seed}.png")
  command_line.check_out(out, ".png")

  from common import parallel
  from common.algorithm import Generative
  from common.data import images
  from common.evaluation.sampling import Sampler
  from common.training.log import Status
  from experiments.command_line import compilation_cache
  from experiments.latents.arithmetic import add_terms, classifier_of, panel
  from experiments.loading import load_run

  status = Status(enabled=True)
  compilation_cache.start(status)
  mesh = parallel.make_mesh()
  with status.phase("restoring"):
    run = load_run(Path(FLAGS.workdir), FLAGS.checkpoint, mesh)
  for note in run.notes:
    status.line(note)
  if not isinstance(run.algorithm, Generative):
    raise ConfigError(f"{FLAGS.workdir} holds a {run.config.family}, which makes no pictures")
  if run.algorithm.given:
    raise ConfigError(
      f"{FLAGS.workdir} holds a conditional model, where labels give the classes (experiments.sample --labels=...); "
      "arithmetic on latents is for one that was trained without labels"
    )
  classifier = classifier_of(FLAGS.features, run.config.data, run.spec, mesh, compilation_cache.user_cache())
  if wrong := [label for _, label in terms if label >= classifier.num_classes]:
    raise ConfigError(f"--terms={FLAGS.terms}: {wrong[0]} is not one of the classes 0 .. {classifier.num_classes - 1}")
  sampler = Sampler(run.algorithm, run.spec, mesh, ema=not FLAGS.raw)
  with status.phase(f"drawing and naming {FLAGS.num:,} pictures"):
    options = {"num": FLAGS.num, "average": FLAGS.average, "noise": FLAGS.noise, "seed": FLAGS.seed}
    found = add_terms(sampler, run.state, classifier, terms, **options)
  images.save_png(out, panel(found, run.spec.pixel_range))
  for line in found.report(terms, classifier.name, FLAGS.num):
    print(line)
  print(f"{out}  (step {run.step:,}, {'raw' if FLAGS.raw or not run.algorithm.ema.kept else 'EMA'} weights)")
  return 0


def _terms(text: str) -> list[tuple[int, int]]:
  """Parses "9-7+5" into [(1, 9), (-1, 7), (1, 5)]."""
  if not re.fullmatch(r"[+-]?\d+([+-]\d+)*", text):
    raise ConfigError(f"--terms={text} is not a sum of classes by number; write it as in --terms=9-7+5")
  return [(-1 if sign == "-" else 1, int(label)) for sign, label in re.findall(r"([+-]?)(\d+)", text)]


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
