"""The commands as functions, for scripts and notebooks; the commands call them too.

from experiments import api

config = api.load_config("dcgan:digits", {"train.num_steps": 500})
api.train(config, "runs/dcgan")
run = api.load("runs/dcgan")
images, labels = api.sample(run, 16)
records = api.evaluate("runs/dcgan", "frechet", num_samples=1000)
print(api.table(records))
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from common import parallel
from common.algorithm import Generative, Trainable
from common.data import images as pictures
from common.data.dataset import Dataset, open_dataset
from common.data.latents import is_latents
from common.data.picture_files import BACKGROUNDS
from common.errors import ConfigError, nearest
from common.evaluation.sampling import Sampler
from common.evaluation.validation import evaluated_run
from common.state import transfer_weights
from common.training.log import Status
from common.training.program import Program
from common.training.program import check as check_program
from common.types import PyTree
from configs import recipes, schema
from experiments import build_algorithm
from experiments.command_line import compilation_cache
from experiments.command_line import flags as command_line
from experiments.command_line.overrides import apply_overrides
from experiments.command_line.running import claimed, to_the_end
from experiments.restore import RestoredRun, restore

if TYPE_CHECKING:  # it imports the metrics
  from common.evaluation.scoring import Settings

Record = dict[str, Any]
Metrics = str | Mapping[str, Mapping[str, Any]]  # names with commas, or {name: {setting: value}}


class Samples(NamedTuple):
  """Images float32 [N, H, W, C] in the model's pixel range, and int32 labels [N] of a conditional model, else None."""

  images: np.ndarray
  labels: np.ndarray | None


def load_config(name: str, settings: Mapping[str, Any] | None = None) -> ConfigDict:
  """The locked config NAME or NAME:VARIANT,... of configs/ or of a file of your own, with ``settings`` by dotted path.

  Raises:
    ConfigError: an unknown name, variant or field, or a value that breaks a rule.
  """
  path, _, variant = name.partition(":")
  config = command_line.load_config(command_line.find_config(path), variant)
  apply_overrides(config, {key: f"--config.{key}={value}" for key, value in (settings or {}).items()})
  for key, value in (settings or {}).items():
    if not isinstance(value, Mapping):
      config.update_from_flattened_dict({key: value})
  return command_line.checked(config)


def train(
  config: ConfigDict,
  workdir: str | Path,
  *,
  init_from: str | Path = "",
  init_partly: bool = False,
  profile: tuple[int, int] | None = None,
  dataset: Dataset | None = None,
  status: Status | None = None,
) -> int:
  """Trains a config to its end in ``workdir``, or continues there; returns the number of steps taken in total.

  Args:
    config: a locked config, as `load_config` returns it.
    workdir: the run's directory; made where it is missing.
    init_from: workdir of a run of the same networks whose weights a fresh run starts from.
    init_partly: whether arrays that ``init_from`` lacks, or has in another shape, may start fresh.
    profile: (start, stop), the steps to trace with jax.profiler into workdir/profile.
    dataset: the opened ``config.data``; None opens it.
    status: receives lines for a person; None prints them to stderr.

  Raises:
    ConfigError: settings that cannot be used, or that differ from those of the run in ``workdir``.
    Interrupted: after SIGTERM or Ctrl-C, with everything saved.
    NonFiniteError: a loss, gradient, parameter or score is not finite; the last good checkpoint remains.
  """
  workdir, status = Path(workdir).absolute(), status or Status(enabled=jax.process_index() == 0)
  config, dataset, algorithm = _built(config, dataset, status)
  with claimed(workdir, config, dataset.spec, status, str(init_from)) as start_at:
    program = Program(algorithm, dataset, config, parallel.make_mesh())
    run = evaluated_run(
      program, workdir, status, lambda: _initial_state(program, init_from, init_partly, status), profile
    )
    if init_from and run.step:
      status.line(f"--init_from={init_from} is not used: the run goes on from its own step {run.step:,}")
    start_at(run.step)  # not before: settings that cannot be built do not bind the workdir to them
    for note in dataset.notes:  # not before either: an error is to stand by itself
      status.line(note)
    to_the_end(run, status)
  return run.step


def check(config: ConfigDict, *, dataset: Dataset | None = None, status: Status | None = None) -> dict[str, float]:
  """Compiles a config and runs a few calls, without a workdir; returns its sizes and times by name."""
  status = status or Status(enabled=jax.process_index() == 0)
  config, dataset, algorithm = _built(config, dataset, status)
  for note in dataset.notes:
    status.line(note)
  return check_program(Program(algorithm, dataset, config, parallel.make_mesh()), status)


def _built(config: ConfigDict, dataset: Dataset | None, status: Status) -> tuple[ConfigDict, Dataset, Trainable]:
  """The config, its data set and its algorithm; a config of latents is completed by the run that they belong to."""
  parallel.check_devices(config.parallel.mode, config.train.batch_size)
  if dataset is None and is_latents(config.data.name):
    from experiments.fitted_prior import with_latents

    config = with_latents(config, status)
  with status.phase("reading the data set"):
    dataset = dataset or open_dataset(config.data)
    return config, dataset, build_algorithm(config, dataset.spec, parallel.axis_name_of(config.parallel.mode))


def _initial_state(program: Program, init_from: str | Path, partly: bool, status: Status) -> PyTree:
  """The state that a run begins with: a fresh one, with the weights of ``init_from`` where that is given."""
  if not init_from:
    return program.init()
  other = load(init_from)
  status.line(f"weights from step {other.step:,} of {init_from}")
  state, fresh = transfer_weights(other.state, program.init(), partly=partly)
  for line in fresh:
    status.line(f"not from there: {line}")
  return state


def load(workdir: str | Path, checkpoint: str = "last", *, prior: str | Path = "") -> RestoredRun:
  """A trained run from its workdir alone: config, spec, algorithm, state and step.

  Args:
    workdir: the run's directory.
    checkpoint: "last", "best" or the number of a step.
    prior: workdir of a density that was trained on the run's latents (configs/samplers.py), to replace the VAE's prior.

  Raises:
    ConfigError: no run there, no such checkpoint, or a prior that was not fitted to it.
    CheckpointError: no undamaged checkpoint.
  """
  mesh = parallel.make_mesh()
  if not prior:
    return restore(Path(workdir), checkpoint, mesh)
  from experiments.fitted_prior import restore_with_prior

  return restore_with_prior(Path(workdir), checkpoint, Path(prior), mesh)


def export(workdir: str | Path, out: str | Path, *, checkpoint: str = "last") -> None:
  """Writes a run's weights, config, card and decoder to the new directory ``out``, which `load` takes as a workdir.

  Raises:
    ConfigError: no run, no such checkpoint, or ``out`` is not empty.
  """
  from experiments.export import export

  export(load(workdir, checkpoint), Path(workdir), Path(out))


def metrics_of(workdir: str | Path) -> list[Record]:
  """The lines of a run's metrics.jsonl: "step", "split", and the metrics' means since the line before."""
  lines = (Path(workdir) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
  return [json.loads(line) for line in lines]


def sampler_of(run: RestoredRun, *, ema: bool = True, truncation: float = 0.0, batch_norm: str = "running") -> Sampler:
  """A compiled sampler of a run's model; image i depends only on the seed and on i.

  Args:
    run: what `load` returns.
    ema: averaged weights, where the run keeps them.
    truncation: largest size of a value of N(0, I) latents; 0 for any.
    batch_norm: whose statistics BatchNorm uses: "running" or "standing".

  Raises:
    ConfigError: a model that makes no images, or an option that it does not have.
  """
  if not isinstance(run.algorithm, Generative):
    raise ConfigError(f"the run holds a {run.config.family}, which makes no pictures")
  mesh = parallel.make_mesh()
  return Sampler(
    run.algorithm, run.spec, mesh, ema=ema, truncation=truncation, batch_norm=batch_norm, source=run.sampler
  )


def sample(run: RestoredRun, num: int, *, seed: int = 0, labels: np.ndarray | None = None, **options: Any) -> Samples:
  """``num`` samples; a conditional model gets ``labels`` [num], or labels drawn uniformly; options: `sampler_of`."""
  sampler = sampler_of(run, **options)
  labels = _labels(run, sampler, num, seed, labels)
  return Samples(sampler(run.state, seed, num, labels), labels)


def interpolate(
  run: RestoredRun, num: int, steps: int, *, seed: int = 0, labels: np.ndarray | None = None, **options: Any
) -> Samples:
  """``num`` straight lines between two latents of ``steps`` images each, [num * steps, ...]; otherwise as `sample`."""
  sampler = sampler_of(run, **options)
  labels = _labels(run, sampler, num, seed, labels)
  drawn = sampler.interpolate(run.state, seed, num, steps, labels)
  return Samples(drawn, None if labels is None else np.repeat(labels, steps))


def _labels(run: Any, sampler: Sampler, num: int, seed: int, labels: np.ndarray | None) -> np.ndarray | None:
  if labels is None and run.algorithm.conditional:
    return sampler.labels(seed, np.arange(num))
  return labels


def save_images(path: str | Path, run: RestoredRun, samples: Samples, columns: int = 8) -> None:
  """Writes a .png (a grid, or a single image at its own size) or a .npz (uint8 images, and labels)."""
  from common import files

  path, spec = Path(path), run.spec
  if path.suffix != ".npz":
    pictures.save_png(path, pictures.picture(samples.images, spec.kind, spec.pixel_range, columns))
    return
  points = spec.kind == "points"
  arrays = {"images": samples.images if points else pictures.to_uint8(samples.images, spec.pixel_range)}
  if samples.labels is not None:
    arrays["labels"] = samples.labels
  with files.replacing(path) as file:
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def evaluate(
  workdir: str | Path,
  metrics: Metrics = "model",
  *,
  checkpoint: str = "last",
  emit: Callable[[Record], None] = lambda record: None,
  **options: Any,
) -> list[Record]:
  """Scores a run, appends one line per score to its evaluations.jsonl, and returns them; options: `score_settings`.

  Args:
    workdir: the run's directory.
    metrics: names with commas, or {name: {setting: value}}.
    checkpoint: "last", "best" or the number of a step; several with commas.
    emit: called with each record as it comes.
    **options: as for `score_settings`.

  Raises:
    ConfigError: a metric that cannot be measured for this run.
  """
  from experiments.scoring import score_run

  return score_run(Path(workdir), checkpoint.split(","), _sections(metrics), score_settings(**options), emit)


def evaluate_files(
  path: str | Path,
  reference: str,
  metrics: Metrics = "frechet",
  *,
  resize: str = "none",
  background: str = "white",
  emit: Callable[[Record], None] = lambda record: None,
  **options: Any,
) -> list[Record]:
  """Scores a directory of images, or a .npz or .npy file, against a data set; options: `score_settings`.

  Args:
    path: the images.
    reference: name of the data set, one of `recipes.DATASETS`.
    metrics: as for `evaluate`.
    resize: how real images got the size of these: "none", "pad", "crop" or "stretch".
    background: "white" or "black", behind transparent images.
    emit: called with each record as it comes.
    **options: as for `score_settings`.

  Raises:
    ConfigError: an unknown data set, damaged images, or a metric that cannot be measured for these.
  """
  from experiments.file_scoring import score_files

  if reference not in recipes.DATASETS:
    hint = nearest(reference, recipes.DATASETS)
    raise ConfigError(f'--reference="{reference}" is not one of {", ".join(recipes.DATASETS)}{hint}')
  sections, settings = _sections(metrics), score_settings(**options)
  config = schema.get_config()
  recipes.use_dataset(config, reference)
  config.data.dir = settings.data_dir
  return score_files(Path(path), config.data, resize, BACKGROUNDS[background], sections, settings, emit)


def score_settings(*, feature_cache: str | Path | None = None, **options: Any) -> "Settings":
  """Returns how to measure.

  Args:
    feature_cache: directory of the real images' features; "" for none, None for the user's cache.
    **options: the other fields of `common.evaluation.scoring.Settings`.
  """
  from common.evaluation.scoring import Settings

  cache = compilation_cache.user_cache() / "features" if feature_cache is None else feature_cache
  weights = compilation_cache.user_cache()
  return Settings(weights=weights, cache=Path(cache) if cache else None, **options)


def _sections(metrics: Metrics) -> dict[str, Mapping[str, Any]]:
  """{name: {setting: value}} of metrics, with groups of them ("prdc") resolved.

  Raises:
    ConfigError: a name that is no metric, or none at all.
  """
  from common.evaluation.metrics.catalogue import GROUPS, LIKELIHOOD_METRICS, SAMPLE_METRICS

  known = [*SAMPLE_METRICS, *LIKELIHOOD_METRICS, "model"]
  sections: dict[str, Mapping[str, Any]] = dict(metrics) if isinstance(metrics, Mapping) else {}
  for word in filter(None, metrics.split(",") if isinstance(metrics, str) else ()):
    sections |= {name: {} for name in GROUPS.get(word, (word,))}
  for name in sections:
    if name not in known:
      raise ConfigError(f'--metrics: "{name}" is not one of {", ".join([*known, *GROUPS])}{nearest(name, known)}')
  if not sections:
    raise ConfigError(f"--metrics is empty; name some of {', '.join(known)}")
  return sections


def table(records: list[Record]) -> str:
  """Records of scores as text: values with intervals and floors, and the protocol below."""
  from experiments.score_table import table

  return table(records)
