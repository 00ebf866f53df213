"""Scores of a model's pictures on its validation split while it trains; imported only if a config asks for them."""

import zlib
from collections.abc import Callable
from typing import Any

from jax.sharding import Mesh

from common.algorithm import Generative
from common.data.spec import Spec
from common.errors import ConfigError
from common.evaluation.features.embed import Embedder
from common.evaluation.features.extractor import Context, open_extractor
from common.evaluation.metrics.catalogue import AGAINST_TRAINING, SAMPLE_METRICS, build_metrics
from common.evaluation.sample_scores import (
  Pictures,
  SampleScorer,
  drawn,
  open_reference,
  real,
  real_protocol,
  see_features,
)
from common.evaluation.sampling import Sampler
from common.types import PyTree


class SampleValidation:
  """Scores a model's pictures by config.evaluate.metrics against the validation split.

  Raises:
    ConfigError: a metric or an extractor that is unknown or does not fit the model and its data.
  """

  def __init__(self, config: Any, algorithm: Generative, spec: Spec, mesh: Mesh, skip: Callable[[str], None]):
    if training := [name for name in config.evaluate.metrics if name in AGAINST_TRAINING]:
      raise ConfigError(
        f"config.evaluate.metrics.{training[0]} compares with training pictures, not with the validation split; leave "
        "it to python -m experiments.evaluate"
      )
    reference = open_reference(config.data)
    self._reference, self._num, self._seed = reference, config.evaluate.num_samples, config.seed
    # The best checkpoint is chosen on these latents, so its final score must use others.
    self._draws = zlib.crc32(f"validation {config.seed}".encode())
    self._skip = skip
    metrics = build_metrics(SAMPLE_METRICS, config.evaluate.metrics, "evaluate.metrics")
    features = config.evaluate.features if see_features(metrics) else "pixels"
    extractor = open_extractor(features, Context(reference.image_shape, spec.kind, config.data.name))
    pictures = real(reference.validation)
    self._scorer = SampleScorer(
      metrics,
      extractor,
      Embedder(extractor, mesh),
      pictures if spec.num_classes else Pictures(pictures.images, None),
      labelled=algorithm.conditional,
      num=self._num,
    )
    self._sampler = Sampler(algorithm, spec, mesh)
    self.protocol = {
      **real_protocol(reference, config.data, "validation"),
      **self._scorer.protocol,
      "n_fake": self._num,
      "sample_seed": self._draws,
      "weights": "ema" if algorithm.ema.kept else "raw",
      **self._sampler.protocol,
    }

  @property
  def better(self) -> dict[str, str]:
    """{full name of a score: "min", "max" or ""}; needs no scores yet."""
    return {name: metric.better[name.partition("@")[0]] for name, metric in self._scorer.owners().items()}

  def __call__(self, state: PyTree) -> dict[str, float]:
    """Returns the scores, and the standard error of each under "NAME standard error"."""
    pictures = drawn(self._sampler, state, self._draws, self._num, self._reference)
    scores = self._scorer(pictures, self._seed, self._skip)
    return {
      **{name: score.value for name, score in scores.items()},
      **{f"{name} standard error": score.standard_error for name, score in scores.items()},
    }
