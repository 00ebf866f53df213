"""Fits a density to a VAE's latents: python -m experiments.fit_sampler --workdir=runs/rae --sampler=gmm

Then experiments.sample and experiments.evaluate draw from it: --workdir=runs/rae --sampler=gmm. The samplers are gmm
(ten Gaussians), flow (affine couplings), two_stage (a second VAE) and, of a model of codes, autoregressive (a
PixelCNN); configs/samplers.py has their recipes. They are fitted to one draw of q(z|x) for each training image.

It is a run of its own, in WORKDIR/samplers/SAMPLER-STEP with the step of the VAE's checkpoint: the latents of each
split, log, checkpoints. The same command goes on where it stopped. Exit codes are those of experiments.train.
"""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

from common.errors import ConfigError
from configs import samplers, schema
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
  flags.DEFINE_string("workdir", "", "directory of the VAE's run")
  flags.DEFINE_enum("sampler", None, samplers.NAMES, "which density")
  flags.DEFINE_string("checkpoint", "last", "of the VAE: last, best, or the number of a step")
  flags.DEFINE_integer("num_steps", 0, "training steps; 0 for the sampler's own", lower_bound=0)
  flags.DEFINE_string("settings", "{}", "of the sampler: {'components': 20}, {'layers': 8, 'width': 128}, ...")
  flags.DEFINE_string(
    "data_dir", "", "where the data set lies; empty for where it was in training, or the usual places"
  )


def main() -> int:
  command_line.required("workdir")
  command_line.required("sampler")
  settings = _settings()

  from common import parallel
  from common.data.dataset import open_dataset
  from common.evaluation.validation import evaluated_run
  from common.training.log import Status
  from common.training.program import Program
  from experiments import build_algorithm
  from experiments.command_line import compilation_cache
  from experiments.command_line.running import claimed, to_the_end
  from experiments.restore import restore, sampler_workdir
  from vae.samplers.fitted import Fitted

  status = Status(enabled=True)
  compilation_cache.start(status)
  mesh = parallel.make_mesh()
  with status.phase("restoring"):
    run = restore(Path(FLAGS.workdir), FLAGS.checkpoint, mesh)
  for note in run.notes:
    status.line(note)
  workdir = sampler_workdir(Path(FLAGS.workdir), FLAGS.sampler, run.step).absolute()
  config = _config(run, settings, workdir)
  _write_latents(run, workdir, mesh, status)
  dataset = open_dataset(config.data)
  algorithm = build_algorithm(config, dataset.spec)
  z = dataset.train.arrays()["image"].reshape(len(dataset.train), -1)
  elsewhere = f"a fit from the beginning: remove {workdir}"
  with claimed(workdir, config, dataset.spec, status, elsewhere=elsewhere) as start_at:
    # One device: these networks are small, and a batch need not divide over several.
    program = Program(algorithm, dataset, config, parallel.make_mesh(1))

    def initial() -> Any:
      return algorithm.start(program.init(), z) if isinstance(algorithm, Fitted) else program.init()

    fit = evaluated_run(program, workdir, status, initial)
    start_at(fit.step)
    to_the_end(fit, status, "Try fewer or smaller parts in --settings, or look at the latents", elsewhere)
  return 0


def _config(run: Any, settings: dict[str, Any], workdir: Path) -> Any:
  """The sampler's config.

  Raises:
    ConfigError: a run, or settings, that it is not for; before anything is encoded.
  """
  from common.data.spec import Spec
  from experiments import build_algorithm
  from vae.samplers.latents import check_sampler, code_map, is_of_codes, size
  from vae.vae import VAE

  if not isinstance(run.algorithm, VAE):
    raise ConfigError(f"{FLAGS.workdir} holds a {run.config.family}; samplers are of the latents of a vae")
  check_sampler(FLAGS.sampler, run.algorithm)
  if is_of_codes(run.algorithm):
    settings = {**code_map(run.algorithm), **settings}
  config = samplers.get_config(FLAGS.sampler, settings, FLAGS.num_steps)
  with config.unlocked():
    config.data.dir = str(workdir)
  if found := schema.problems(config):
    raise ConfigError("\n".join(found))
  build_algorithm(config, Spec((1, 1, size(run.algorithm)), 0, 0, "points", (0.0, 1.0), ""))
  return config


def _write_latents(run: Any, workdir: Path, mesh: Any, status: Any) -> None:
  """The latents of each split into the workdir, where they are not there yet."""
  from common.data.latents import FILE, check_weights, save_latents
  from experiments.restore import open_data, weights_of
  from vae.samplers.latents import encode, is_of_codes

  command_line.make_directory("workdir", workdir)
  weights = weights_of(run)
  if (workdir / FILE).exists():
    check_weights(workdir, weights)
    return
  with status.phase("reading the data set"):
    _, dataset = open_data(run, FLAGS.workdir, FLAGS.data_dir)
  with status.phase("encoding the data set"):
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    save_latents(
      workdir,
      {name: encode(run.algorithm, run.state, split, run.config, mesh, name=name) for name, split in splits.items()},
      weights,
      standardise=not is_of_codes(run.algorithm),
    )


def _settings() -> dict[str, Any]:
  """--settings.

  Raises:
    ConfigError: a text that is no such section.
  """
  try:
    found = ast.literal_eval(FLAGS.settings)
  except (ValueError, SyntaxError):
    found = None
  if not isinstance(found, Mapping) or "name" in found:
    raise ConfigError(f"--settings={FLAGS.settings} is not {{'setting': value}}")
  return dict(found)


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
