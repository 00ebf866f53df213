"""The commands as functions, for scripts and notebooks; the commands call them too.

from experiments import api

config = api.load_config("dcgan:digits", {"train.num_steps": 500})
api.train(config, "runs/dcgan")
run = api.load("runs/dcgan")
images, labels = api.sample(run, 16)
records = api.evaluate("runs/dcgan", "frechet", num_samples=1000)
print(api.table(records))
"""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from common import parallel
from common.algorithm import Generative
from common.data import images as pictures
from common.data.picture_files import BACKGROUNDS
from common.errors import ConfigError
from common.evaluation.sampling import Sampler, numbers_of
from common.evaluation.validation import evaluated_run
from common.training.log import Status
from common.training.program import Program
from common.training.program import check as check_program
from experiments.command_line import compilation_cache
from experiments.command_line import flags as command_line
from experiments.command_line.overrides import apply_overrides
from experiments.command_line.running import built, claimed, initial_state, to_the_end
from experiments.loading import TrainedRun, load_run
from experiments.restoration.restorer import restore as restore

Record = dict[str, Any]
Metrics = str | Mapping[str, Mapping[str, Any]]  # names with commas, or {name: {setting: value}}


class Samples(NamedTuple):
  """Images float32 [N, H, W, C] in the model's pixel range, and int32 labels [N] of a conditional model, else None."""

  images: np.ndarray
  labels: np.ndarray | None


def load_config(name: str, settings: Mapping[str, Any] | None = None) -> ConfigDict:
  """Returns a locked config, with ``settings`` by dotted path.

  Args:
    name: NAME or NAME:VARIANT,...; NAME is a config of configs/ or a file of your own.
    settings: {dotted path: value}; a mapping replaces its section.

  Raises:
    ConfigError: an unknown name, variant or field, or a value that breaks a rule.
  """
  path, _, variant = name.partition(":")
  config = command_line.load_config(command_line.find_config(path), variant)
  apply_overrides(config, {key: f"--config.{key}={value}" for key, value in (settings or {}).items()})
  plain = {key: value for key, value in (settings or {}).items() if not isinstance(value, Mapping)}
  config.update_from_flattened_dict(plain)
  return command_line.checked(config)


def train(
  config: ConfigDict,
  workdir: str | Path,
  *,
  init_from: str | Path = "",
  init_partly: bool = False,
  profile: tuple[int, int] | None = None,
  status: Status | None = None,
) -> int:
  """Trains a config to its end in ``workdir``, or resumes there; returns the number of steps taken in total.

  Args:
    config: a locked config, as `load_config` returns it.
    workdir: the run's directory; made if it is missing.
    init_from: workdir of a run of the same networks whose weights a fresh run starts from.
    init_partly: whether arrays that ``init_from`` lacks, or has in another shape, may start fresh.
    profile: (start, stop), the steps to trace with jax.profiler into workdir/profile.
    status: receives lines for the user; None prints them to stderr.

  Raises:
    ConfigError: settings that cannot be used, or that differ from those of the run in ``workdir``.
    Interrupted: after SIGTERM or Ctrl-C, with everything saved.
    NonFiniteError: a loss, gradient, parameter or score is not finite; the last good checkpoint remains.
  """
  workdir, status = Path(workdir).absolute(), status or Status(enabled=jax.process_index() == 0)
  config, dataset, algorithm = built(config, status)
  with claimed(workdir, config, dataset.spec, status, str(init_from)) as start_at:
    program = Program(algorithm, dataset, config, parallel.make_mesh())
    initial = functools.partial(initial_state, program, init_from, init_partly, status)
    run = evaluated_run(program, workdir, status, initial, profile)
    if init_from and run.step:
      status.line(f"--init_from={init_from} is not used: the run goes on from its own step {run.step:,}")
    start_at(run.step)  # not earlier: settings that cannot be built do not bind the workdir to them
    for note in dataset.notes:  # not earlier either, so that an error stands by itself
      status.line(note)
    to_the_end(run, status)
  return run.step


def check(config: ConfigDict, *, status: Status | None = None) -> dict[str, float]:
  """Compiles a config and runs a few calls, without a workdir; returns its sizes and times by name."""
  status = status or Status(enabled=jax.process_index() == 0)
  config, dataset, algorithm = built(config, status)
  for note in dataset.notes:
    status.line(note)
  return check_program(Program(algorithm, dataset, config, parallel.make_mesh()), status)


def load(workdir: str | Path, checkpoint: str = "last", *, prior: str | Path = "") -> TrainedRun:
  """Restores a trained run from its workdir alone: config, spec, algorithm, state and step.

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
    return load_run(Path(workdir), checkpoint, mesh)
  from experiments.latents.fitted_prior import load_with_prior

  return load_with_prior(Path(workdir), checkpoint, Path(prior), mesh)


def encode(
  run: TrainedRun, pixels: np.ndarray, *, labels: np.ndarray | None = None, **search: Any
) -> dict[str, np.ndarray]:
  """Finds latents of images uint8 [N, H, W, C]: by a VAE's encoder, or by gradient descent through a GAN's generator.

  A conditional model is given ``labels`` int32 [N]; ``search`` has the descent's ``steps`` and ``learning_rate``.

  Returns:
    "z" [N, ...] ("z0", "z1", ... of several layers), "reconstructions" [N, H, W, C] in the model's pixel range, and
    "error" [N], their mean squared error where white is 1. A VAE adds "mean" and "log_var" [N, Z], or "codes" [N, P].

  Raises:
    ConfigError: the run has no pictures to encode, or ``labels`` and the model do not go together.
  """
  from experiments.latents.encoding import encode

  return encode(run, pixels, labels, **search)


def decode(run: TrainedRun, latents: Mapping[str, np.ndarray], *, labels: np.ndarray | None = None) -> np.ndarray:
  """Returns the images [N, H, W, C] of latents as `encode` returns them: of "mean" where there is one, else of "z"."""
  from experiments.latents.encoding import decode

  return decode(run, latents, labels)


def export(workdir: str | Path, out: str | Path, *, checkpoint: str = "last") -> None:
  """Writes a run's weights, config, card and decoder to the new directory ``out``, which `load` takes as a workdir.

  Raises:
    ConfigError: no run, no such checkpoint, or ``out`` is not empty.
  """
  from experiments.export import export

  export(load(workdir, checkpoint), Path(workdir), Path(out))


def metrics_of(workdir: str | Path) -> list[Record]:
  """Reads a run's metrics.jsonl: each line has "step", "split", and the metrics' means since the line before."""
  return [json.loads(line) for line in (Path(workdir) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def sampler_of(run: TrainedRun, *, ema: bool = True, truncation: float = 0.0, batch_norm: str = "running") -> Sampler:
  """Compiles a sampler of a run's model; image i depends only on the seed and on i.

  Args:
    run: the result of `load`.
    ema: uses averaged weights, if the run keeps them.
    truncation: largest absolute value of N(0, I) latents; 0 for no limit.
    batch_norm: the statistics that BatchNorm uses, "running" or "standing".

  Raises:
    ConfigError: the model makes no images, or lacks an option.
  """
  if not isinstance(run.algorithm, Generative):
    raise ConfigError(f"the run holds a {run.config.family}, which makes no pictures")
  options: dict[str, Any] = {"ema": ema, "truncation": truncation, "batch_norm": batch_norm, "source": run.sampler}
  return Sampler(run.algorithm, run.spec, parallel.make_mesh(), **options)


def sample(
  run: TrainedRun, num: Any, *, seed: int = 0, labels: Any = None, texts: Any = None, **options: Any
) -> Samples:
  """Draws ``num`` samples, or those with the numbers ``num`` [N], of ``labels`` [N] (default: drawn uniformly) or of
  the captions ``texts`` [N], whose words the model must know. ``options`` are those of `sampler_of`.
  """
  sampler = sampler_of(run, **options)
  given: Any = run.stated(labels, texts) or sampler.given(seed, numbers_of(num)) or {}
  return Samples(sampler(run.state, seed, num, given), given.get("label"))


def interpolate(
  run: TrainedRun, num: Any, steps: int, *, seed: int = 0, labels: Any = None, texts: Any = None, **options: Any
) -> Samples:
  """Draws straight lines of ``steps`` images between two latents, [N * steps, ...]; otherwise as `sample`."""
  sampler = sampler_of(run, **options)
  given: Any = run.stated(labels, texts) or sampler.given(seed, numbers_of(num)) or {}
  drawn = sampler.interpolate(run.state, seed, num, steps, given)
  return Samples(drawn, np.repeat(given["label"], steps) if "label" in given else None)


def save_images(
  path: str | Path, run: TrainedRun, samples: Samples, columns: int = 8, numbers: Any = None, texts: Any = None
) -> None:
  """Writes a grid with captions ``texts``, or an image, a .npz, a film (.gif, .webp, .mp4), or PNGs by ``numbers``."""
  pictures.save(Path(path), samples.images, samples.labels, run.spec, columns, numbers, texts)


def evaluate(
  workdir: str | Path,
  metrics: Metrics = "model",
  *,
  checkpoint: str = "last",
  emit: Callable[[Record], None] = lambda record: None,
  **options: Any,
) -> list[Record]:
  """Scores a run, appends one line per score to its evaluations.jsonl, and returns them.

  Args:
    workdir: the run's directory.
    metrics: names with commas, or {name: {setting: value}}.
    checkpoint: "last", "best" or the number of a step; several with commas.
    emit: called with each record as it comes.
    **options: fields of `common.evaluation.scoring.Settings`, and ``feature_cache``, the directory of the real images'
      features; "" for none, None for the user's cache.

  Raises:
    ConfigError: a metric that cannot be measured for this run.
  """
  from common.evaluation.metrics.catalogue import sections_of
  from experiments.scores.runs import score_run

  return score_run(Path(workdir), checkpoint.split(","), sections_of(metrics), _score_settings(**options), emit)


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
  """Scores a directory of images, or a .npz or .npy file, against a data set.

  Args:
    path: the images.
    reference: a data set of `recipes.DATASETS`, or a folder, an archive, an array or a prepared set.
    metrics: as for `evaluate`.
    resize: how real images got the size of these: "none", "pad", "crop" or "stretch".
    background: "white" or "black", for transparent images.
    emit: called with each record as it comes.
    **options: as for `evaluate`.

  Raises:
    ConfigError: an unknown data set, damaged images, or a metric that cannot be measured for these.
  """
  from common.evaluation.metrics.catalogue import sections_of
  from experiments.scores.files import score_files

  settings = _score_settings(**options)
  return score_files(Path(path), reference, resize, BACKGROUNDS[background], sections_of(metrics), settings, emit)


def _score_settings(feature_cache: str | Path | None = None, **options: Any) -> Any:
  from common.evaluation.scoring import Settings

  weights = compilation_cache.user_cache()
  cache = weights / "features" if feature_cache is None else feature_cache
  return Settings(weights=weights, cache=Path(cache) if cache else None, **options)


def table(records: list[Record]) -> str:
  """Formats records of scores: values with intervals and floors, and the protocol below."""
  from experiments.scores.table import table

  return table(records)
