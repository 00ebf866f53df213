"""Metrics of pictures as `experiments.evaluate` runs them: what is asked for, and the records of it."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from common.data.dataset import Dataset
from common.evaluation.features.embed import Embedder
from common.evaluation.features.extractor import Context, open_extractor
from common.evaluation.metrics.catalogue import AGAINST_TRAINING, build_metrics
from common.evaluation.sample_scores import Pictures, SampleScorer, real, real_protocol, see_features
from common.training.log import Status
from experiments import records

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to measure and how; see the flags of `experiments.evaluate`."""

  sections: Mapping[str, Mapping[str, Any]]
  features: str
  split: str
  num_samples: int
  num_real: int
  seed: int
  ema: bool
  truncation: float
  batch_norm: str
  sampler: str
  floor: bool
  data_dir: str
  cache: Path | None
  weights: Path
  say: Status
  emit: Callable[[Record], None]

  def metrics(self, table: Mapping[str, str]) -> dict[str, Any]:
    """Those of the chosen metrics that are in ``table``."""
    chosen = {name: section for name, section in self.sections.items() if name in table}
    return build_metrics(table, chosen, "metrics")


class PictureScoring:
  """Metrics of pictures against a split, and those that are against the training split whatever is asked for."""

  def __init__(self, reference: Dataset, data: Any, settings: Settings, mesh: Mesh, metrics: Mapping[str, Any]):
    self.reference, self._data, self._settings = reference, data, settings
    context = Context(reference.image_shape, reference.source.kind, data.name, settings.weights)
    self._extractor = open_extractor(settings.features if see_features(metrics) else "pixels", context)
    self._embedder = Embedder(self._extractor, mesh, cache=settings.cache)
    self.failures: list[str] = []

  def scorers(self, metrics: Mapping[str, Any], *, labelled: bool, num: int) -> dict[str, SampleScorer]:
    """{split: scorer}.

    Raises:
      ConfigError: a metric that needs what is not there, or an extractor that misreads the real pictures.
    """
    against = {name: "train" if name in AGAINST_TRAINING else self._settings.split for name in metrics}
    scorers = {
      split: SampleScorer(
        {name: metric for name, metric in metrics.items() if against[name] == split},
        self._extractor,
        self._embedder,
        self._real(split, 0 if split == "train" else self._settings.num_real),  # copies are of any training picture
        labelled=labelled,
        num=num,
      )
      for split in dict.fromkeys(against.values())
    }
    with self._settings.say.phase("reading the real pictures"):
      for scorer in scorers.values():
        scorer.protocol  # noqa: B018 - refuses an extractor before anything is drawn
    return scorers

  def records(
    self, scorers: Mapping[str, SampleScorer], pictures: Pictures, model: Record, source: Record
  ) -> Iterator[Record]:
    """The scores of ``pictures``; ``model`` is what the protocol says of how they were drawn."""
    for split, scorer in scorers.items():
      with self._settings.say.phase(f"scoring {len(pictures):,} pictures"):
        scores = scorer(pictures, self._settings.seed, self._fail)
      shared = real_protocol(self.reference, self._data, split)
      protocol = {**shared, **model, **scorer.protocol, "n_fake": len(pictures)}
      owners = scorer.owners()
      for name, score in scores.items():
        yield records.record(
          name,
          score,
          better=owners[name].better[name.partition("@")[0]],
          settings=records.settings_of(owners[name]),
          protocol=protocol,
          source=source,
          seed=self._settings.seed,
        )

  def _fail(self, problem: str) -> None:
    self.failures.append(problem)
    self._settings.say.line(problem)

  def floor(self, scorers: Mapping[str, SampleScorer], num: int) -> Iterator[Record]:
    """Real pictures in the place of generated ones: what a generator of the true distribution would get.

    They are of the training split, and of the test split for what is measured against training pictures.
    """
    for split, scorer in scorers.items():
      other = "test" if split == "train" else "train"
      pictures = self._real(other, min(num, len(getattr(self.reference, other))))
      if len(pictures) < num:
        self._settings.say.line(f"the floor is of {len(pictures):,} real {other} pictures, all there are, not {num:,}")
      yield from self.records({split: scorer}, pictures, {}, {"real": other})

  def _real(self, split: str, num: int) -> Pictures:
    pictures = real(getattr(self.reference, split), num)
    return pictures if self.reference.source.num_classes else Pictures(pictures.images, None)
