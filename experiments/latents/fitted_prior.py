"""Densities fitted to a VAE's latents: the data set that they are trained on, and the VAE with one as its prior."""

import dataclasses
from pathlib import Path
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from common import parallel
from common.build import choose
from common.data.latents import NAME, SPLITS, file_of, save_latents, units
from common.data.spec import Spec
from common.errors import ConfigError
from common.evaluation.features.extractor import sha8
from common.training.checkpoint import Checkpoints
from common.training.log import Status
from experiments import build_algorithm
from experiments.loading import TrainedRun, load_run, open_data, read_config
from vae.samplers.fitted import SAMPLERS
from vae.samplers.latents import check, encode, shape_of
from vae.samplers.with_prior import with_prior
from vae.vae import VAE


def with_latents(config: ConfigDict, status: Status) -> ConfigDict:
  """Completes a config of latents by the run that config.data.dir names, where it writes the latents if none are.

  config.data.name, which is "latents", "latents:best" or "latents:STEP", becomes the name of these latents. A second
  VAE gets latents of their size, and a density of codes their number.

  Raises:
    ConfigError: no VAE there, or one to whose latents this density cannot be fitted, before anything is encoded.
    CheckpointError: no undamaged checkpoint.
  """
  if not config.data.dir:
    raise ConfigError('config.data.dir="" must name the run of a VAE, whose latents these are: --config.data.dir=RUN')
  workdir, mesh = Path(config.data.dir), parallel.make_mesh()
  checkpoint = config.data.name.partition(":")[2].partition("-")[0] or "last"
  with status.phase("restoring"):
    run = load_run(workdir, checkpoint, mesh)
  vae, codes = _vae(run, workdir), False
  if config.family == "sampler":
    codes = "codes" in choose(SAMPLERS, config.sampler.name, "config.sampler.name").needs
  check(vae, codes)
  shape, config = shape_of(vae), config.copy_and_resolve_references()
  with config.unlocked():
    config.data.name = _name(run)
    if codes:
      config.sampler.num_codes = vae.network.posterior.num_codes
    elif config.family == "vae":
      config.model.z_dim = shape[-1]
  build_algorithm(config, Spec(shape, 0, 0, "points", config.data.pixel_range, ""))
  file = file_of(workdir, config.data.name)
  status.line(f"{config.data.name} of {workdir}, {' x '.join(map(str, shape))}")
  if parallel.from_process_0(file.is_file, errors=(OSError,)):
    return config
  with status.phase("reading the data set"):
    try:
      _, dataset = open_data(run, workdir, "")
    except ConfigError as error:  # its advice is for the command of that run
      again = "give its own training command once more, with the --config.data.dir where they lie now"
      raise ConfigError(f"the images of {workdir} cannot be read; {again}\n  {error}") from None
  with status.phase("encoding the data set"):
    splits = {name: encode(vae, run.state, getattr(dataset, name), run.config, mesh, name=name) for name in SPLITS}
  parallel.from_process_0(lambda: save_latents(file, splits, standardise=not codes), errors=(OSError,))
  return config


def load_with_prior(workdir: Path, checkpoint: str, prior: Path, mesh: Mesh) -> TrainedRun:
  """As `load_run`, with the density of the run ``prior``, at its best step, in the place of the VAE's own prior.

  Raises:
    ConfigError: as `load_run`; a run that is no density of latents, or of those of another checkpoint.
    CheckpointError: as `load_run`.
  """
  run = load_run(workdir, checkpoint, mesh)
  vae, name = _vae(run, workdir), _name(run)
  file, trained_on = file_of(workdir, name), read_config(prior)[0]["data"]["name"]
  if trained_on != name:
    command = f"--config=samplers:gmm --config.data.dir={workdir} --config.data.name=latents:{run.step}"
    raise ConfigError(
      f"--prior={prior} was trained on {trained_on}, and this checkpoint's latents are {name}; take the --checkpoint "
      f"of those, or train another: python -m experiments.train {command} --workdir={workdir}-gmm-{run.step}"
    )
  if not file.is_file():
    raise ConfigError(f"{file} is missing, which has the units of {prior}; the command that trained it writes it again")
  if not any((prior / "best").glob("*.json")):
    raise ConfigError(f"--prior={prior} has no best checkpoint yet; the command that trains it goes on")
  fitted: Any = load_run(prior, "best", mesh)
  algorithm, state = with_prior(vae, run.state, fitted.algorithm, fitted.state, parallel.replicate(units(file), mesh))
  density = fitted.config.sampler if fitted.config.family == "sampler" else fitted.config.model
  settings = ", ".join(f"{key}={value}" for key, value in density.items() if key != "name")
  with Checkpoints(prior / "checkpoints", keep=1, read_only=True) as checkpoints:
    reached = max(checkpoints.steps(), default=0)
  return dataclasses.replace(
    run,
    algorithm=algorithm,
    state=state,
    notes=(*run.notes, *fitted.notes, f"the prior is {density.name} of {prior} at its best step, {fitted.step:,}"),
    sampler=f"{density.name}({settings}), best of {reached:,} steps",
  )


def _vae(run: TrainedRun, workdir: Path) -> VAE:
  if not isinstance(run.algorithm, VAE):
    what = f"{workdir} holds a {run.config.family}, and a density is fitted to the latents of a vae"
    raise ConfigError(f"{what}; name the run of one")
  return run.algorithm


def _name(run: TrainedRun) -> str:
  """The name of the data set that consists of the latents of this checkpoint's weights."""
  state: Any = run.state
  return f"{NAME}:{run.step}-{sha8(parallel.to_host(state.net.variables()))}"
