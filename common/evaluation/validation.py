"""What a run measures of its validation split while it trains: the model's own figures, and its pictures' scores."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from common.algorithm import Generative
from common.build import choose
from common.data.spec import Spec
from common.errors import ConfigError
from common.evaluation.evaluate import Evaluator
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
from common.training.program import Program
from common.training.workdir import flatten, read_json, write_json
from common.types import PyTree

PROTOCOL = "validation_protocol.json"  # in the workdir: how its pictures are scored


class Validation:
  """Scores of a state on the validation split.

  Args:
    program: what is trained.
    skip: told of a score that a step's pictures have not, as where they lack a class.

  Raises:
    ConfigError: config.evaluate or config.checkpoint.keep_best asks for what this model or data set has not.
  """

  def __init__(self, program: Program, skip: Callable[[str], None]):
    config, algorithm, dataset = program.config, program.algorithm, program.dataset
    self._evaluator = Evaluator(algorithm, dataset.spec, config, program.mesh)
    self._feed = self._evaluator.feed(dataset.validation)
    self._samples: _SampleScores | None = None
    if config.evaluate.metrics:
      if not isinstance(algorithm, Generative):
        raise ConfigError(
          f"config.evaluate.metrics is of pictures, and a {config.family} makes none; "
          "set --config.evaluate.metrics={}"
        )
      self._samples = _SampleScores(config, algorithm, dataset.spec, program.mesh, skip)
    self.keep_best = config.checkpoint.keep_best
    if self.keep_best:
      names = self._evaluator.names(program.state_shapes(), self._feed)
      names += list(self._samples.better) if self._samples else []
      # "frechet" does for "frechet@classifier:...".
      known = {name.partition("@")[0]: name for name in names} | {name: name for name in names}
      self.keep_best = choose(known, self.keep_best, "config.checkpoint.keep_best")
      end = self._samples.better.get(self.keep_best, "") if self._samples else ""
      if end not in ("", config.checkpoint.best_mode):
        raise ConfigError(
          f'config.checkpoint.best_mode="{config.checkpoint.best_mode}" would keep the worst '
          f"{self.keep_best.partition('@')[0]}; set --config.checkpoint.best_mode={end}"
        )

  @property
  def protocol(self) -> dict[str, Any] | None:
    """How pictures are scored, and which end of each score is better; None where they are not."""
    return {"protocol": self._samples.protocol, "better": self._samples.better} if self._samples else None

  def write_protocol(self, workdir: Path, say: Callable[[str], None] | None) -> None:
    """Writes down how pictures are scored, if they are; ``say`` is told where a run goes on that had another way."""
    if not self.protocol:
      return
    file, now = workdir / PROTOCOL, flatten(json.loads(json.dumps(self.protocol)))
    old = flatten(read_json(file)) if say and file.exists() else now
    differ = [f"{key}: {old.get(key)} -> {now.get(key)}" for key in {**old, **now} if old.get(key) != now.get(key)]
    if say and differ:
      say(f"pictures are scored otherwise than before: {'; '.join(differ)}")
    write_json(file, self.protocol)

  def __call__(self, state: PyTree) -> dict[str, Any]:
    """{name: number, or a list of such}."""
    return {**self._evaluator(state, self._feed), **(self._samples(state) if self._samples else {})}


class _SampleScores:
  """config.evaluate.metrics of a model's pictures against its validation split, while it trains.

  Raises:
    ConfigError: a metric or an extractor that is unknown or does not fit the model and its data.
  """

  def __init__(self, config: Any, algorithm: Generative, spec: Spec, mesh: Mesh, skip: Callable[[str], None]):
    if training := [name for name in config.evaluate.metrics if name in AGAINST_TRAINING]:
      raise ConfigError(
        f"config.evaluate.metrics.{training[0]} is against training pictures, not the validation split; leave it to "
        "python -m experiments.evaluate"
      )
    reference = open_reference(config.data)
    self._reference, self._num, self._seed = reference, config.evaluate.num_samples, config.seed
    # Other latents than those that the chosen checkpoint is scored on later: it was chosen on these.
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
    """{full name of a score: "min", "max" or ""}, before any is computed."""
    return {name: metric.better[name.partition("@")[0]] for name, metric in self._scorer.owners().items()}

  def __call__(self, state: PyTree) -> dict[str, float]:
    """The scores, and the standard error of each under "NAME standard error"."""
    pictures = drawn(self._sampler, state, self._draws, self._num, self._reference)
    scores = self._scorer(pictures, self._seed, self._skip)
    return {
      **{name: score.value for name, score in scores.items()},
      **{f"{name} standard error": score.standard_error for name, score in scores.items()},
    }
