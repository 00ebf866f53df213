"""Scores pictures against real ones: of a run while it trains, of a run afterwards, or from files of any code."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from common.data.dataset import Dataset
from common.data.resize import described
from common.errors import ConfigError
from common.evaluation.features.embed import Embedder
from common.evaluation.features.extractor import Context, Extractor, open_extractor, sha8
from common.evaluation.metrics.catalogue import AGAINST_TRAINING, AMONG_ALL
from common.evaluation.metrics.labels import channel_classes, labels_of, share
from common.evaluation.metrics.score import SampleMetric, SampleSet, Score
from common.evaluation.pictures import OTHERS, Pictures, among_all, check_pictures, real
from common.evaluation.records import Protocol, ScoreRecord
from common.training.log import Status

ALL = "all"  # names the side of metrics that compare with all pictures of the set
ACCURACY_LOST = 0.02  # a classifier that loses more on the real pictures is refused: it misreads them


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """How to measure."""

  features: str = "classifier"  # classifier[:NAME or FILE], inception[:FILE], random[:SEED], pixels, module:function
  split: str = "test"  # "train", "validation" or "test"
  num_samples: int = 10000  # to draw
  num_real: int = 0  # use the first images of the split only; 0 for all
  seed: int = 0  # of samples, subsets and draws
  ema: bool = True  # averaged weights, where the run keeps them
  truncation: float = 0.0  # largest absolute value of N(0, I) latents; 0 for no bound
  batch_norm: str = "running"  # whose statistics BatchNorm uses: "running" or "standing"
  reconstructions: bool = False  # score a VAE's reconstructions of the split in the place of its samples
  prior: str = ""  # workdir of a density of a VAE's latents that replaces its prior; empty for none
  floor: bool = True  # also score real training images
  data_dir: str = ""  # where the data set lies; empty for where it was in training, or the usual places
  weights: Path | None = None  # directory of downloaded or converted weights of extractors
  cache: Path | None = None  # directory of the real images' features
  say: Status = dataclasses.field(default_factory=lambda: Status(enabled=True))  # receives lines for a person


class _Side(NamedTuple):
  """The metrics that compare with one split, its pictures as the extractor sees them, and the protocol of both."""

  metrics: dict[str, SampleMetric]
  real: SampleSet
  protocol: Protocol


class Scoring:
  """Metrics of pictures against a split; copies are sought in the training split, and `AMONG_ALL` sees all of them.

  Args:
    metrics: by name, as `common.evaluation.metrics.catalogue.build_metrics` makes them.
    reference: the real pictures, from `open_reference`.
    data: config.data.
    settings: how to measure.
    mesh: the devices.
    labelled: whether the pictures to be scored have labels.
    num: how many there are.
    paired: whether picture i belongs to real picture i.
    given: whether a model makes them that is given something, for which it can be asked again.

  Attributes:
    draws: the largest number of draws of each picture that a metric asks for.
    failures: a line for each metric that was undefined for the pictures and is therefore left out.

  Raises:
    ConfigError: a metric that needs something missing, before anything is computed; a classifier that misreads the real
      pictures.
  """

  def __init__(
    self,
    metrics: Mapping[str, SampleMetric],
    reference: Dataset,
    data: Any,
    settings: Settings,
    mesh: Mesh,
    *,
    labelled: bool,
    num: int,
    paired: bool = False,
    given: bool = False,
  ):
    self.draws = max(getattr(metric, "draws", 1) for metric in metrics.values())
    self._reference, self._settings = reference, settings
    features = settings.features if any(map(_sees_features, metrics.values())) else "pixels"
    context = Context(reference.image_shape, reference.source.kind, data.name, settings.weights)
    self._extractor = open_extractor(features, context)
    self._embedder = Embedder(self._extractor, mesh, cache=settings.cache)
    self.failures: list[str] = []
    splits: dict[str, dict[str, SampleMetric]] = {}
    for name, metric in metrics.items():
      side = "train" if name in AGAINST_TRAINING else ALL if name in AMONG_ALL else settings.split
      splits.setdefault(side, {})[name] = metric
    pairs = settings.num_real or len(getattr(reference, settings.split))
    pictures = {split: self._real(split) for split in splits}
    for split, group in splits.items():
      about: dict[str, Any] = {"labelled": labelled, "num": num, "pairs": pairs if paired else 0, "given": given}
      _check(group, self._extractor, pictures[split], **about)
    with settings.say.phase("reading the real pictures"):
      self._sides = {split: self._side(group, split, pictures[split], data) for split, group in splits.items()}

  def _real(self, side: str) -> Pictures:
    if side == ALL:
      return among_all(self._reference, self._settings.split)
    # A copy may be one of any training picture.
    return real(self._reference, side, 0 if side == "train" else self._settings.num_real)

  def _side(self, metrics: dict[str, SampleMetric], split: str, pictures: Pictures, data: Any) -> _Side:
    reference, extractor, own = self._reference, self._extractor, self._settings.split
    embedded = self._embedder.reference(pictures.images, pictures.labels)
    embedded = dataclasses.replace(embedded, captions=pictures.captions)
    among = [data[f"{each}_split"] for each in (own, *OTHERS[own])]
    protocol = Protocol(
      dataset=data.name,
      split=f"{among[0]}, among {', '.join(among)}" if split == ALL else data[f"{split}_split"],
      image_shape=list(reference.image_shape),
      resize=described(reference.source.native_shape, reference.image_shape, data.resize),
      quantization="none" if reference.source.kind == "points" else "uint8, rounded",
      extractor=extractor.name,
      extractor_resize=extractor.resize,
      extractor_accuracy=None if extractor.accuracy is None else round(extractor.accuracy, 4),
      extractor_accuracy_real=None if extractor.accuracy is None else _accuracy(extractor, embedded, reference),
      degradation=[dict(section) for section in data.degradation] or None,
      n_real=len(pictures),
      real_sha=sha8((pictures.images, pictures.labels)),
    )
    return _Side(metrics, embedded, protocol)

  @property
  def better(self) -> dict[str, str]:
    """{full name of a score: "min", "max" or ""}, before any is computed."""
    metrics = [metric for side in self._sides.values() for metric in side.metrics.values()]
    return {self._full_name(name, metric): end for metric in metrics for name, end in metric.better.items()}

  def protocol(self, split: str, num: int, made: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the protocol of ``num`` pictures against a split; ``made`` has the fields that say how they were made."""
    return dataclasses.replace(self._sides[split].protocol, n_fake=num, **made).to_json()

  def __call__(self, pictures: Pictures, source: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[ScoreRecord]:
    """Yields the scores; those that see through an extractor are named after it: "frechet@classifier:digits-1a2b3c4d".

    Args:
      pictures: what is scored.
      source: whose they are, for the records.
      made: how they were made: fields of `Protocol`.

    Raises:
      ConfigError: pictures of another shape or kind than the real ones, or features that are not finite.
    """
    fake = self._embed(pictures)
    for split in self._sides:
      yield from self._score(split, fake, source, made)

  def floor(self, num: int, baselines: Mapping[str, Pictures] = MappingProxyType({})) -> Iterator[ScoreRecord]:
    """Yields the scores of real pictures, which a generator of the true distribution would get.

    They come from the training split, or from the test split for metrics that compare with the training split. Metrics
    of pairs, of which real pictures have none, score the ``baselines`` by name: what the pictures were restored from,
    or training pictures that a person could find for a caption.
    """
    for split, side in self._sides.items():
      if not all({"pairs", "draws"} & metric.needs for metric in side.metrics.values()):
        other = "test" if split == "train" else "train"
        pictures = real(self._reference, other, min(num, len(getattr(self._reference, other))))
        if len(pictures) < num:
          few = f"the floor is of {len(pictures):,} real {other} pictures, all there are, not {num:,}"
          self._settings.say.line(few)
        yield from self._score(split, self._embed(pictures), {"real": other}, {}, pairs=False)
      if any("pairs" in metric.needs for metric in side.metrics.values()):
        for name, pictures in baselines.items():
          yield from self._score(split, self._embed(pictures), {"baseline": name}, {}, pairs=True)

  def _embed(self, pictures: Pictures) -> SampleSet:
    check_pictures(pictures.images, next(iter(self._sides.values())).real.images)
    try:
      with self._settings.say.phase(f"embedding {len(pictures):,} pictures"):
        embedded = self._embedder(pictures.images, pictures.labels)
        return dataclasses.replace(embedded, holes=pictures.holes, draws=pictures.draws)
    except ValueError as error:
      raise ConfigError(str(error)) from error

  def _score(
    self, split: str, fake: SampleSet, source: Mapping[str, Any], made: Mapping[str, Any], *, pairs: bool | None = None
  ) -> Iterator[ScoreRecord]:
    side, seed = self._sides[split], self._settings.seed
    protocol = self.protocol(split, len(fake), made)
    for metric_name, metric in side.metrics.items():
      if pairs is not None and (pairs != ("pairs" in metric.needs) or "draws" in metric.needs):
        continue
      try:
        with self._settings.say.phase(f"scoring {len(fake):,} pictures"):
          scores: Mapping[str, Score] = metric(side.real, fake, seed)
      except ValueError as error:
        self.failures.append(f"{metric_name} is left out: {error}")
        self._settings.say.line(self.failures[-1])
        continue
      settings = dataclasses.asdict(metric)  # type: ignore[call-overload]
      for name, score in scores.items():
        yield ScoreRecord(
          metric=self._full_name(name, metric),
          score=score,
          better=metric.better[name],
          settings=settings,
          protocol=protocol,
          source=source,
          seed=seed,
        )

  def _full_name(self, name: str, metric: SampleMetric) -> str:
    return f"{name}@{self._extractor.name}" if _sees_features(metric) else name


def _sees_features(metric: SampleMetric) -> bool:
  """Whether the metric needs an extractor; the others see pixels and labels only."""
  return bool({"features", "logits"} & metric.needs)


def _check(
  metrics: Mapping[str, SampleMetric],
  extractor: Extractor,
  pictures: Pictures,
  *,
  labelled: bool,
  num: int,
  pairs: int,
  given: bool,
) -> None:
  """Raises ConfigError for a metric that needs something missing; ``pairs`` is the number of real partners."""
  for name, metric in metrics.items():
    if (draws := getattr(metric, "draws", 1)) > 1 and not given:
      raise ConfigError(
        f"the metric {name} has draws={draws} for each input, which takes a model that is given pictures, "
        "captions or labels; leave it out"
      )
    if "logits" in metric.needs and not extractor.num_classes:
      raise ConfigError(
        f"the metric {name} needs a classifier's logits, which the features {extractor.name} lack; "
        "use --config.evaluate.features=classifier, or inception"
      )
    if "labels" in metric.needs and not (labelled and pictures.labels is not None):
      whose = "the real pictures" if labelled else "the pictures to be scored"
      raise ConfigError(f"the metric {name} needs labels, and {whose} have none; leave it out")
    if "captions" in metric.needs and pictures.captions is None:
      raise ConfigError(f"the metric {name} needs captions, and the real pictures have none; leave it out")
    if "pairs" in metric.needs and not pairs:
      raise ConfigError(
        f"the metric {name} compares each picture with the real one that it was made from, and these were made from "
        "none; leave it out"
      )
    if "pairs" in metric.needs and num != pairs:
      raise ConfigError(
        f"the metric {name} compares picture i with real picture i, and there are {num} pictures and {pairs} "
        "real ones; both must be the same pictures in the order of their names"
      )
    ways = {"real": "take a larger split", "generated": "raise config.evaluate.num_samples, or add files"}
    for least, count, what in zip(metric.least(), (len(pictures), num), ways, strict=True):
      if count < least:
        text = f"the metric {name} needs {least} {what} pictures or more, and there are {count}"
        raise ConfigError(f"{text}; {ways[what]}, or leave it out")


def _accuracy(extractor: Extractor, real: SampleSet, reference: Dataset) -> float | str:
  """Measures a classifier on real pictures as they are resized for it; on stacked ones, channel by channel.

  Returns why it is unknown if they have no labels or other classes than the classifier.

  Raises:
    ConfigError: it is below the classifier's own accuracy by more than ACCURACY_LOST and its standard error.
  """
  if real.labels is None:
    return "not known: the real pictures have no labels"
  classes = extractor.num_classes // extractor.channels
  true = channel_classes(labels_of(real, "real"), classes, extractor.channels)
  foreign = reference.source.num_classes != classes**extractor.channels  # such as 9 groups of emoji
  if foreign or true is None or real.logits is None:
    return f"not known: the real pictures are of other classes than the classifier's {classes}"
  seen = np.argmax(real.logits.reshape((*true.shape, classes)), axis=2)
  accuracy = share((seen == true).ravel(), "real pictures")
  assert extractor.accuracy is not None
  if accuracy.value + accuracy.standard_error < extractor.accuracy - ACCURACY_LOST:
    size = "x".join(map(str, real.images.shape[1:3]))
    raise ConfigError(
      f"the extractor {extractor.name} reads {accuracy.value:.1%} of the {len(real):,} real pictures of {size} as they "
      f"are labelled (resize: {extractor.resize}) and {extractor.accuracy:.1%} of its own test pictures: scores would "
      "measure what it misreads; use --config.evaluate.features=random, which names no classes, or a classifier of "
      "such pictures: configs/classifier.py at their size, written to a file by experiments.export_classifier"
    )
  return round(accuracy.value, 4)
