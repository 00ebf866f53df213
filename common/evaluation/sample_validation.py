"""Scores of a model's pictures on its validation split while it trains; imported only if a config asks for them."""

import dataclasses
import zlib
from typing import Any

from common.algorithm import Generative
from common.errors import ConfigError
from common.evaluation.metrics.catalogue import AGAINST_TRAINING, SAMPLE_METRICS, build_metrics
from common.evaluation.pictures import drawn, holes, open_reference
from common.evaluation.sampling import Sampler, examples_of
from common.evaluation.scoring import Scoring, Settings
from common.training.log import Status
from common.training.program import Program
from common.types import PyTree


class SampleValidation:
  """Scores a model's pictures by config.evaluate.metrics against the validation split.

  Attributes:
    better: {full name of a score: "min", "max" or ""}.
    protocol: how they are scored.

  Raises:
    ConfigError: a metric or an extractor that is unknown or does not fit the model and its data.
  """

  def __init__(self, program: Program, algorithm: Generative, status: Status):
    config, num = program.config, program.config.evaluate.num_samples
    if training := [name for name in config.evaluate.metrics if name in AGAINST_TRAINING]:
      raise ConfigError(
        f"config.evaluate.metrics.{training[0]} compares with training pictures, not with the validation split; leave "
        "it to python -m experiments.evaluate"
      )
    metrics = build_metrics(SAMPLE_METRICS, config.evaluate.metrics, "evaluate.metrics")
    spec, given = program.dataset.spec, algorithm.given
    paired = bool({*given} - {"label"})  # picture i is made from example i
    num = min(num, len(program.dataset.validation)) if paired else num
    settings = Settings(
      features=config.evaluate.features,
      split="validation",
      num_real=num if paired else 0,
      seed=config.seed,
      say=status,
    )
    self._reference = open_reference(config.data)
    about: dict[str, Any] = {"labelled": "label" in given, "paired": paired, "given": bool(given), "num": num}
    self._scoring = Scoring(metrics, self._reference, config.data, settings, program.mesh, **about)
    examples = examples_of(program.dataset.validation, spec, config, given)
    self._sampler, self._num = Sampler(algorithm, spec, program.mesh, examples=examples), num
    self._holes = holes(examples, num, spec.image_shape, self._reference) if "seen" in given else None
    # The best checkpoint is chosen on these latents, so its final score must use others.
    self._draws = zlib.crc32(f"validation {config.seed}".encode())
    weights = "ema" if algorithm.ema.kept else "raw"
    made: dict[str, Any] = {"sample_seed": self._draws, "weights": weights, **self._sampler.protocol}
    self.better, self.protocol = self._scoring.better, self._scoring.protocol("validation", num, made)

  def __call__(self, state: PyTree) -> dict[str, float]:
    """Returns the scores, and the standard error of each under "NAME standard error"."""
    pictures = drawn(self._sampler, state, self._draws, self._num, self._reference, self._scoring.draws)
    records = list(self._scoring(dataclasses.replace(pictures, holes=self._holes), {}, {}))
    errors = {f"{record.metric} standard error": record.standard_error for record in records}
    return {**{record.metric: record.value for record in records}, **errors}
