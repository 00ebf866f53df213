"""Densities fitted to a VAE's latents: the data set that they are trained on, and the VAE with one as its prior."""

import ast
import dataclasses
from pathlib import Path
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from common import parallel
from common.build import choose
from common.data.dataset import Split
from common.data.latents import NAME, SPLITS, file_of, save_latents, units
from common.data.source import Rows
from common.errors import ConfigError, nearest
from common.evaluation.features.extractor import sha8
from common.training.checkpoint import Checkpoints
from common.training.log import Status
from experiments import build_algorithm
from experiments.loading import TrainedRun, load_run, open_data, read_config
from vae.samplers.fitted import SAMPLERS
from vae.samplers.latents import check, encode, shape_of
from vae.samplers.with_prior import with_prior
from vae.vae import VAE

DRAWING = ("guidance", "temperature", "top_k", "top_p", "steps", "choice_temperature")  # settings of a prior's draws


def with_latents(config: ConfigDict, status: Status) -> ConfigDict:
  """Completes a config of latents by the run that config.data.dir names, where it writes the latents if none are.

  config.data.name, which is "latents", "latents:best" or "latents:STEP", becomes the name of these latents. A second
  VAE gets latents of their size, a density of codes their number, and one of captions the words of that run.

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
      if config.data.text.name != "none":
        config.data.text = run.config.data.text
    elif config.family == "vae":
      config.model.z_dim = shape[-1]
  pixel_range = config.data.pixel_range
  build_algorithm(config, dataclasses.replace(run.spec, image_shape=shape, kind="points", pixel_range=pixel_range))
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
    splits = {name: _rows(run, getattr(dataset, name), name, mesh) for name in SPLITS}
  classes = run.spec.num_classes if "label" in splits["train"] else 0
  parallel.from_process_0(lambda: save_latents(file, splits, classes, standardise=not codes), errors=(OSError,))
  return config


def _rows(run: TrainedRun, split: Split, name: str, mesh: Mesh) -> Rows:
  """The latents of a split, with the labels and captions of its images where the set has them at hand."""
  algorithm: Any = run.algorithm
  more = {"label": split.labels() if run.spec.num_classes else None, "text": split.captions()}
  latents = encode(algorithm, run.state, split, run.config, mesh, name=name)
  return {"image": latents, **{row: values for row, values in more.items() if values is not None}}


def load_with_prior(workdir: Path, checkpoint: str, prior: Path, mesh: Mesh) -> TrainedRun:
  """As `load_run`, with the density of the run ``prior``, at its best step, in the place of the VAE's own prior.

  Settings may follow the run, as in RUN:guidance=3,top_k=100: those of `DRAWING`, in which nothing is trained.

  Raises:
    ConfigError: as `load_run`; a run that is no density of latents, or of those of another checkpoint; wrong settings.
    CheckpointError: as `load_run`.
  """
  run = load_run(workdir, checkpoint, mesh)
  vae, name = _vae(run, workdir), _name(run)
  prior, settings = _settings(prior)
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
  if settings:
    fitted = _redrawn(fitted, settings)
  algorithm, state = with_prior(vae, run.state, fitted.algorithm, fitted.state, parallel.replicate(units(file), mesh))
  density = fitted.config.sampler if fitted.config.family == "sampler" else fitted.config.model
  said = ", ".join(f"{key}={value}" for key, value in density.items() if key != "name")
  with Checkpoints(prior / "checkpoints", keep=1, read_only=True) as checkpoints:
    reached = max(checkpoints.steps(), default=0)
  return dataclasses.replace(
    run,
    algorithm=algorithm,
    state=state,
    notes=(*run.notes, *fitted.notes, f"the prior is {density.name} of {prior} at its best step, {fitted.step:,}"),
    sampler=f"{density.name}({said}), best of {reached:,} steps",
  )


def _settings(prior: Path) -> tuple[Path, dict[str, Any]]:
  """Splits RUN:key=value,key=value; a directory of that whole name is a run without settings."""
  place, colon, words = str(prior).rpartition(":")
  if not colon or prior.is_dir():
    return prior, {}
  settings = {}
  for key, equals, value in (word.partition("=") for word in words.split(",")):
    try:
      settings[key] = ast.literal_eval(value)
    except (ValueError, SyntaxError):
      key, equals = f"{key}{equals}", ""
    if not equals or key not in DRAWING:
      raise ConfigError(
        f'--prior={prior}: "{key}{equals}{value}" is none of {", ".join(f"{name}=NUMBER" for name in DRAWING)}'
        f"{nearest(key, DRAWING)}"
      )
  return Path(place), settings


def _redrawn(fitted: TrainedRun, settings: dict[str, Any]) -> TrainedRun:
  """The density under other settings of its draws."""
  module: Any = getattr(fitted.algorithm, "module", None)
  config = fitted.config.copy_and_resolve_references()
  for key, value in settings.items():
    # Without steps, codes have an order, which training has fixed.
    if not hasattr(module, key) or (key == "steps" and not (value and module.steps)):
      name = config.sampler.name if config.family == "sampler" else "two_stage"
      raise ConfigError(f"{key}={value} is no setting of this prior ({name}); leave it out")
  with config.unlocked():
    config.sampler.update(settings)
  return dataclasses.replace(fitted, config=config, algorithm=build_algorithm(config, fitted.spec))


def _vae(run: TrainedRun, workdir: Path) -> VAE:
  if not isinstance(run.algorithm, VAE):
    what = f"{workdir} holds a {run.config.family}, and a density is fitted to the latents of a vae"
    raise ConfigError(f"{what}; name the run of one")
  return run.algorithm


def _name(run: TrainedRun) -> str:
  """The name of the data set that consists of the latents of this checkpoint's weights."""
  state: Any = run.state
  return f"{NAME}:{run.step}-{sha8(parallel.to_host(state.net.variables()))}"
