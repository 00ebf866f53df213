"""From a run, or from files of pictures, to the records of its scores."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from common import parallel
from common.algorithm import Generative, LatentVariable
from common.data.dataset import Dataset
from common.errors import ConfigError
from common.evaluation.metrics.catalogue import LIKELIHOOD_METRICS, SAMPLE_METRICS
from common.evaluation.metrics.likelihood import Model, no_density
from common.evaluation.metrics.score import Score
from common.evaluation.sample_scores import Pictures, drawn, open_reference, without_margin
from common.evaluation.sampling import Sampler
from common.evaluation.validation import Evaluator
from common.state import NetState
from experiments import records
from experiments.picture_scoring import PictureScoring, Settings
from experiments.pictures import read_pictures
from experiments.restore import RestoredRun, locate, open_data, restore_sampled

Record = dict[str, Any]


def score_run(workdir: Path, checkpoints: list[str], settings: Settings) -> list[Record]:
  """Scores of a run at each of the checkpoints, appended to its evaluations.jsonl as they come.

  Raises:
    ConfigError: a metric that cannot be measured of this run, before any work.
  """
  for checkpoint in checkpoints:
    locate(workdir, checkpoint)
  mesh = parallel.make_mesh()
  found: list[Record] = []
  for i, checkpoint in enumerate(checkpoints):
    with settings.say.phase("restoring"):
      run = restore_sampled(workdir, checkpoint, settings.sampler, mesh)
    for note in run.notes:
      settings.say.line(note)
    for line in _score_state(run, workdir, checkpoint, settings, mesh, floor=settings.floor and i == 0):
      found.append(line)
      try:
        settings.emit(line)
      finally:  # a full disk does not hide a score, nor does a reader that went away lose it
        records.append(workdir, line)
  return found


def _score_state(
  run: RestoredRun, workdir: Path, checkpoint: str, settings: Settings, mesh: Mesh, *, floor: bool
) -> Iterator[Record]:
  config = run.config.copy_and_resolve_references()
  with config.unlocked():
    config.parallel.mode = "jit"  # running statistics: every mode gives the same scores
  sample_metrics, likelihoods = settings.metrics(SAMPLE_METRICS), settings.metrics(LIKELIHOOD_METRICS)
  weights = "ema" if settings.ema and run.algorithm.ema.kept else "raw"
  source = {"workdir": str(workdir), "family": config.family, "checkpoint": checkpoint, **_progress(run)}
  if sample_metrics and not isinstance(run.algorithm, Generative):
    raise ConfigError(f"{workdir} holds a {config.family}, which makes no pictures for {', '.join(sample_metrics)}")
  if likelihoods and not isinstance(run.algorithm, LatentVariable):
    raise ConfigError(f"{workdir} holds a {config.family}, which has no likelihood for {', '.join(likelihoods)}")
  algorithm: Any = run.algorithm
  with settings.say.phase("reading the data set"):
    config.data, dataset = open_data(run, workdir, settings.data_dir)
  if sample_metrics:  # what cannot be measured is refused before the rest is
    scoring = PictureScoring(open_reference(config.data), config.data, settings, mesh, sample_metrics)
    sampler = Sampler(
      algorithm,
      run.spec,
      mesh,
      ema=settings.ema,
      truncation=settings.truncation,
      batch_norm=settings.batch_norm,
      source=run.sampler,
    )
    scorers = scoring.scorers(sample_metrics, labelled=algorithm.conditional, num=settings.num_samples)
  if "model" in settings.sections or likelihoods:
    yield from _score_split(run, config, dataset, settings, mesh, likelihoods, source, workdir)
  if sample_metrics:
    with settings.say.phase(f"drawing {settings.num_samples:,} pictures"):
      pictures = drawn(sampler, run.state, settings.seed, settings.num_samples, scoring.reference)
    yield from scoring.records(scorers, pictures, {"weights": weights, **sampler.protocol}, source)
    if floor:
      yield from scoring.floor(scorers, settings.num_samples)
    _report(scoring)


def score_files(path: Path, data: Any, resize: str, background: int, settings: Settings) -> list[Record]:
  """Scores of pictures in files against a data set.

  Args:
    path: of `read_pictures`.
    data: config.data of the reference.
    resize: "pad" cuts off the margin by which training images were padded, "crop" and "stretch" resize the real ones.
    background: the grey level that transparent pictures are laid on.
    settings: what to measure; metrics of pictures only.

  Raises:
    ConfigError: what cannot be measured of them, before any work.
  """
  metrics = settings.metrics(SAMPLE_METRICS)
  if others := [name for name in settings.sections if name not in metrics]:
    raise ConfigError(f"--metrics: {', '.join(others)} is not of pictures; name some of {', '.join(SAMPLE_METRICS)}")
  with settings.say.phase(f"reading {path}"):
    pictures, report = read_pictures(path, background)
  settings.say.line(f"{path}: {report}")
  resized = resize in ("crop", "stretch")
  data.resize, data.channels = resize if resized else "pad", 0
  data.image_size = pictures.images.shape[1] if resized else 0
  reference, mesh = open_reference(data), parallel.make_mesh()
  for note in reference.notes:
    settings.say.line(note)
  if resize == "pad":
    pictures = Pictures(without_margin(pictures.images, reference.image_shape), pictures.labels)
  if pictures.images.shape[1:3] != reference.image_shape[:2]:
    ours, theirs = ("x".join(map(str, shape[:2])) for shape in (pictures.images.shape[1:], reference.image_shape))
    raise ConfigError(
      f'--samples={path}: pictures of {ours} against {theirs} of "{data.name}"; say how they got that size, '
      "--resize=pad (a margin, which is cut off), --resize=crop (the middle square) or --resize=stretch"
    )
  if pictures.images.shape[3] == 3 and reference.image_shape[2] == 1 and _is_grey(pictures.images):
    pictures = Pictures(pictures.images[..., :1], pictures.labels)  # many tools write grey pictures in three channels
  scoring = PictureScoring(reference, data, settings, mesh, metrics)
  scorers = scoring.scorers(metrics, labelled=pictures.labels is not None, num=len(pictures))
  unknown = dict.fromkeys(("weights", "batch_norm", "truncation", "sampler"), "files")
  read = {**unknown, "quantization": report.quantization, "files": report.record()}
  found = []
  floor = scoring.floor(scorers, len(pictures)) if settings.floor else ()
  for line in itertools.chain(scoring.records(scorers, pictures, read, {"samples": str(path)}), floor):
    found.append(line)
    settings.emit(line)  # before the floor is measured, which may fail
  _report(scoring)
  return found


def _is_grey(images: np.ndarray) -> bool:
  return bool(np.all(images == images[..., :1]))


def _report(scoring: PictureScoring) -> None:
  """Raises ConfigError for the metrics that had no value, once the others are written."""
  if scoring.failures:
    raise ConfigError("; ".join(dict.fromkeys(scoring.failures)))


def _likelihood(config: Any) -> Record:
  """The likelihood by name: values under different ones are not to be ranked, nor those of none."""
  if "likelihood" not in config:
    return {}
  reason = no_density(config)
  return {"likelihood": config.likelihood.name, **({"no_density": reason} if reason else {})}


def _score_split(
  run: RestoredRun,
  config: Any,
  dataset: Dataset,
  settings: Settings,
  mesh: Mesh,
  likelihoods: Mapping[str, Any],
  source: Record,
  workdir: Path,
) -> Iterator[Record]:
  """What is measured of the real images of a split: the model's own figures, and likelihoods."""
  if settings.split == "train" and config.data.binarize != "none":
    raise ConfigError(
      f'--split=train: config.data.binarize="{config.data.binarize}" draws training pixels anew at every use; '
      "use --split=validation or --split=test, which are drawn once"
    )
  if settings.num_real or (not settings.ema and run.algorithm.ema.kept):
    raise ConfigError(
      "--raw and --num_real are of metrics of pictures: likelihoods and the model's own figures are of the whole "
      "split, with the averaged weights; leave them out"
    )
  split = getattr(dataset, settings.split)
  evaluator = Evaluator(run.algorithm, run.spec, config, mesh)
  feed = evaluator.feed(split)
  protocol = {
    "dataset": config.data.name,
    "split": config.data[f"{settings.split}_split"],
    "n_real": len(split),
    "real_sha": split.sha8(),
    "image_shape": list(run.spec.image_shape),
    "binarize": config.data.binarize,
    "dequantize": config.data.dequantize,
    **_likelihood(config),
    "weights": "ema" if run.algorithm.ema.kept else "raw",
    "batch_norm": "running",
  }
  if run.sampler != "prior":  # else p(z) is the model's own
    protocol["sampler"] = run.sampler
  if isinstance(run.algorithm, Generative) and run.algorithm.conditional:
    protocol["given"] = "label"  # densities are p(x|label), in the place of p(x)
  common: dict[str, Any] = {"protocol": protocol, "source": source, "seed": config.seed}
  if "model" in settings.sections:
    with settings.say.phase("evaluating"):
      scores = evaluator(run.state, feed)
    for name, value in scores.items():
      score = value if isinstance(value, list) else Score(value, math.nan, "")
      yield records.record(name, score, better="", settings={}, **common)
  if not likelihoods:
    return
  algorithm: Any = run.algorithm
  model = Model(algorithm=algorithm, state=run.state, spec=run.spec, config=config, mesh=mesh)
  for metric_name, metric in likelihoods.items():
    with settings.say.phase(f"measuring {metric_name}"):
      result = metric(model, feed)
    sizes = [len(values) for values in result.per_image.values()]
    options = records.settings_of(metric)
    common["protocol"] = {**protocol, "n_real": sizes[0] if sizes else len(split)}
    if sizes:
      records.keep_per_image(workdir, metric_name, run.step, result.per_image, common["protocol"], options, config.seed)
    for name, score in result.scores.items():
      better = metric.better.get(name, "")
      yield records.record(name, score, better=better, settings=options, **common)
    for name, array in result.arrays.items():
      yield records.record(name, np.asarray(array).tolist(), better="", settings=options, **common)


def _progress(run: RestoredRun) -> Record:
  """How far the run is: steps, updates of each network, and training images seen by it."""
  networks = {field.name: getattr(run.state, field.name) for field in dataclasses.fields(run.state)}
  updates = {f"{name}_updates": int(net.updates) for name, net in networks.items() if isinstance(net, NetState)}
  batches = run.algorithm.batches_per_step or 1
  return {"step": run.step, **jax.device_get(updates), "images": run.step * batches * run.config.train.batch_size}
