"""Scores a run: its pictures, its own figures on a split, and its likelihoods; each becomes a record."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from common import parallel
from common.algorithm import Generative, LatentVariable
from common.data.dataset import Split
from common.errors import ConfigError
from common.evaluation import records
from common.evaluation.classical import classically_restored
from common.evaluation.metrics.catalogue import LIKELIHOOD_METRICS, SAMPLE_METRICS, build_metrics
from common.evaluation.metrics.likelihood import Model, no_density
from common.evaluation.metrics.score import Score
from common.evaluation.pictures import copies, drawn, holes, open_reference, unrestored
from common.evaluation.records import Protocol, Record, ScoreRecord
from common.evaluation.sampling import Sampler, examples_of
from common.evaluation.scoring import Scoring, Settings
from common.evaluation.validation import Evaluator
from common.state import NetState
from experiments import api
from experiments.loading import TrainedRun, locate, open_data
from vae.reconstructing import Reconstructing
from vae.vae import VAE

Sections = Mapping[str, Mapping[str, Any]]  # the metrics, {name: {setting: value}}


def metrics_in(table: Mapping[str, str], sections: Sections) -> dict[str, Any]:
  """Builds those of the chosen metrics that are in ``table``."""
  return build_metrics(table, {name: section for name, section in sections.items() if name in table}, "metrics")


def score_run(
  workdir: Path, checkpoints: list[str], sections: Sections, settings: Settings, emit: Callable[[Record], None]
) -> list[Record]:
  """Scores a run at each checkpoint; each record is appended to its evaluations.jsonl and passed to ``emit`` at once.

  Raises:
    ConfigError: a metric that cannot be measured for this run, before any work.
  """
  for checkpoint in checkpoints:
    locate(workdir, checkpoint)
  mesh, lines = parallel.make_mesh(), []
  for i, checkpoint in enumerate(checkpoints):
    scored = _Checkpoint(workdir, checkpoint, settings, mesh)
    for record in scored.records(sections, floor=settings.floor and i == 0):
      lines.append(record.to_json())
      try:
        emit(lines[-1])
      finally:  # neither a full disk nor a reader that went away loses a score
        records.append(workdir, lines[-1])
  return lines


def report(scoring: Scoring) -> None:
  """Raises ConfigError for the metrics that were undefined, once the others are written."""
  if scoring.failures:
    raise ConfigError("; ".join(dict.fromkeys(scoring.failures)))


class _Checkpoint:
  """A checkpoint of a run, restored to be measured."""

  def __init__(self, workdir: Path, checkpoint: str, settings: Settings, mesh: Mesh):
    if settings.reconstructions and settings.prior:
      why = "replaces p(z), and reconstructions take z from q(z|x); leave it out, or --reconstructions"
      raise ConfigError(f"--prior={settings.prior} {why}")
    with settings.say.phase("restoring"):
      run = api.load(workdir, checkpoint, prior=settings.prior)
    for note in run.notes:
      settings.say.line(note)
    self._run, self._workdir, self._settings, self._mesh = run, workdir, settings, mesh
    self._algorithm: Any = run.algorithm
    self._given: tuple[str, ...] = getattr(run.algorithm, "given", ())
    self._config = run.config.copy_and_resolve_references()
    with self._config.unlocked():
      self._config.parallel.mode = "jit"  # running statistics: every mode gives the same scores
    family = self._config.family
    self._source = {"workdir": str(workdir), "family": family, "checkpoint": checkpoint, **_progress(run)}

  def records(self, sections: Sections, *, floor: bool) -> Iterator[ScoreRecord]:
    """Yields the records of the chosen metrics, and those of the floors."""
    settings, run, algorithm, num = self._settings, self._run, self._algorithm, self._settings.num_samples
    sample_metrics, likelihoods = metrics_in(SAMPLE_METRICS, sections), metrics_in(LIKELIHOOD_METRICS, sections)
    holds = f"{self._workdir} holds a {self._config.family}, which"
    if sample_metrics and not isinstance(algorithm, Generative):
      raise ConfigError(f"{holds} makes no pictures for {', '.join(sample_metrics)}")
    if likelihoods and not isinstance(algorithm, LatentVariable):
      raise ConfigError(f"{holds} has no likelihood for {', '.join(likelihoods)}")
    with settings.say.phase("reading the data set"):
      self._config.data, dataset = open_data(run, self._workdir, settings.data_dir)
    if sample_metrics:  # what cannot be measured is refused before the rest is measured
      model: Any = _reconstructing(run, settings) if settings.reconstructions else algorithm
      reference, data, rows = open_reference(self._config.data), self._config.data, model.given
      about: dict[str, Any] = {"labelled": "label" in rows and "image" not in rows, "given": bool(rows)}
      about["paired"] = bool({*rows} - {"label"})
      if about["paired"]:  # picture i is made from example i
        num = min(num, settings.num_real or num, len(getattr(dataset, settings.split)))
        settings = dataclasses.replace(settings, num_real=num)
      scoring = Scoring(sample_metrics, reference, data, settings, self._mesh, num=num, **about)
      ways: dict[str, Any] = {"truncation": settings.truncation, "batch_norm": settings.batch_norm}
      examples = examples_of(getattr(dataset, settings.split), run.spec, self._config, rows)
      ways |= {"source": "reconstructions" if settings.reconstructions else run.sampler, "examples": examples}
      sampler = Sampler(model, run.spec, self._mesh, ema=settings.ema, **ways)
    if "model" in sections or likelihoods:
      yield from self._of_split(getattr(dataset, settings.split), likelihoods, own="model" in sections)
    if sample_metrics:
      with settings.say.phase(f"drawing {num:,} pictures"):
        pictures = drawn(sampler, run.state, settings.seed, num, reference, scoring.draws)
        where = holes(examples, num, run.spec.image_shape, reference) if "seen" in rows else None
        pictures = dataclasses.replace(pictures, holes=where)
      weights = "ema" if settings.ema and algorithm.ema.kept else "raw"
      yield from scoring(pictures, self._source, {"weights": weights, **sampler.protocol})
      if floor:
        baselines = copies(reference, settings.split, num) if "text" in rows else {}
        if "seen" in rows:
          baselines["the input"] = unrestored(examples, num, run.spec.image_shape, reference)
          baselines |= classically_restored(examples, num, reference, run.config.data.degradation)
          baselines = {name: dataclasses.replace(pictures, holes=where) for name, pictures in baselines.items()}
        yield from scoring.floor(num, baselines)
      report(scoring)

  def _of_split(self, split: Split, likelihoods: Mapping[str, Any], *, own: bool) -> Iterator[ScoreRecord]:
    """Yields what is measured on the real images of a split: the model's own figures, and likelihoods."""
    run, config, settings = self._run, self._config, self._settings
    if settings.split == "train" and config.data.binarize != "none":
      raise ConfigError(
        f'--split=train: config.data.binarize="{config.data.binarize}" draws training pixels anew at every use; '
        "use --split=validation or --split=test, which are drawn once"
      )
    if settings.num_real or (not settings.ema and self._algorithm.ema.kept):
      raise ConfigError(
        "--raw and --num_real apply to metrics of pictures: likelihoods and the model's own figures use the whole "
        "split and the averaged weights; leave them out"
      )
    evaluator = Evaluator(run.algorithm, run.spec, config, self._mesh)
    feed, protocol = evaluator.feed(split), self._protocol(split)
    shared: dict[str, Any] = {"source": self._source, "seed": config.seed}
    if own:
      with settings.say.phase("evaluating"):
        scores = evaluator(run.state, feed)
      for name, value in scores.items():
        score = value if isinstance(value, list) else Score(value, math.nan, "")
        yield ScoreRecord(metric=name, score=score, protocol=protocol.to_json(), **shared)
    if not likelihoods:
      return
    model = Model(algorithm=self._algorithm, state=run.state, spec=run.spec, config=config, mesh=self._mesh)
    for metric_name, metric in likelihoods.items():
      with settings.say.phase(f"measuring {metric_name}"):
        result = metric(model, feed)
      shared |= {"settings": dataclasses.asdict(metric), "protocol": protocol.to_json()}
      if result.per_image:
        count = len(next(iter(result.per_image.values())))  # a metric may use the first images only
        shared["protocol"] = dataclasses.replace(protocol, n_real=count).to_json()
        about = {key: value for key, value in shared.items() if key != "source"}
        records.keep_per_image(self._workdir, metric_name, run.step, result.per_image, about)
      arrays = {name: np.asarray(array).tolist() for name, array in result.arrays.items()}
      for name, score in {**result.scores, **arrays}.items():
        yield ScoreRecord(metric=name, score=score, better=metric.better.get(name, ""), **shared)

  def _protocol(self, split: Split) -> Protocol:
    run, config, data = self._run, self._config, self._config.data
    has_likelihood = "likelihood" in config
    return Protocol(
      dataset=data.name,
      split=data[f"{self._settings.split}_split"],
      image_shape=list(run.spec.image_shape),
      n_real=len(split),
      real_sha=split.sha8(),
      binarize=data.binarize,
      dequantize=data.dequantize,
      # Values under different likelihoods are not ranked, nor those under none.
      likelihood=config.likelihood.name if has_likelihood else None,
      no_density=(no_density(config) or None) if has_likelihood else None,
      weights="ema" if self._algorithm.ema.kept else "raw",
      batch_norm="running",
      sampler=None if run.sampler == "prior" else run.sampler,
      given=", ".join(self._given) or None,
      degradation=[dict(section) for section in data.degradation] or None,
    )


def _reconstructing(run: TrainedRun, settings: Settings) -> Reconstructing:
  if not isinstance(run.algorithm, VAE):
    raise ConfigError(f"--reconstructions: a {run.config.family} has no encoder to reconstruct images by; leave it out")
  return Reconstructing(run.algorithm, settings.ema)


def _progress(run: TrainedRun) -> dict[str, Any]:
  """Returns how far the run is: steps, updates of each network, and training images seen."""
  networks = {field.name: getattr(run.state, field.name) for field in dataclasses.fields(run.state)}
  updates = {f"{name}_updates": int(net.updates) for name, net in networks.items() if isinstance(net, NetState)}
  batches = run.algorithm.batches_per_step or 1
  return {"step": run.step, **jax.device_get(updates), "images": run.step * batches * run.config.train.batch_size}
