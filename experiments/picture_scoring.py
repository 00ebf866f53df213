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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """What to measure and how.

  Attributes:
    sections: the metrics, {name: {setting: value}}.
    weights: directory of downloaded or converted weights of extractors.
    features: the extractor: classifier[:NAME or FILE], inception[:FILE], random[:SEED], pixels, module:function.
    split: "train", "validation" or "test".
    num_samples: number of samples to draw.
    num_real: use the first images of the split only; 0 for all.
    seed: of samples, subsets and draws.
    ema: averaged weights, where the run keeps them.
    truncation: largest size of a value of N(0, I) latents; 0 for any.
    batch_norm: whose statistics BatchNorm uses: "running", "batch" or "standing".
    sampler: "prior", or the density that `experiments.fit_sampler` fitted to a VAE's latents.
    floor: score real training images too.
    data_dir: where the data set lies; empty for where it was in training, or the usual places.
    cache: directory of the real images' features; None for none.
    say: receives lines for a person.
    emit: is called with each record as it comes.
  """

  sections: Mapping[str, Mapping[str, Any]]
  weights: Path
  features: str = "classifier"
  split: str = "test"
  num_samples: int = 10000
  num_real: int = 0
  seed: int = 0
  ema: bool = True
  truncation: float = 0.0
  batch_norm: str = "running"
  sampler: str = "prior"
  floor: bool = True
  data_dir: str = ""
  cache: Path | None = None
  say: Status = dataclasses.field(default_factory=lambda: Status(enabled=True))
  emit: Callable[[Record], None] = lambda record: None

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
