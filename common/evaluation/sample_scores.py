"""Scores of pictures, whoever made them, against real ones: chosen metrics over one extractor's features."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from common.data import images
from common.data.catalogue import open_source
from common.data.dataset import Dataset, Split, open_dataset
from common.data.resize import described
from common.errors import ConfigError
from common.evaluation.features.embed import Embedder
from common.evaluation.features.extractor import Extractor, sha8
from common.evaluation.metrics.labels import channel_classes, labels_of, share
from common.evaluation.metrics.score import SampleMetric, SampleSet, Score
from common.evaluation.sampling import Sampler
from common.types import PyTree

ACCURACY_LOST = 0.02  # by an extractor on the real pictures, at most: beyond it, scores are of what it misreads


@dataclasses.dataclass(frozen=True)
class Pictures:
  """What is scored: uint8 [N, H, W, C] (points: float32 [N, 1, 1, 2]), and labels [N] where there are any."""

  images: np.ndarray
  labels: np.ndarray | None

  def __len__(self) -> int:
    return len(self.images)


def open_reference(data: Any) -> Dataset:
  """The data set of config.data as pictures are compared with: never flipped, dequantized or binarized.

  Where training padded the images, they come at their own size, to which `drawn` brings the model's: padding is the
  same on both sides and would only dilute the scores.
  """
  plain = data.copy_and_resolve_references()
  with plain.unlocked():
    plain.update({"flip": False, "dequantize": False, "binarize": "none"})
    source = open_source(plain)
    if plain.resize == "pad" and source.kind == "images":
      height, width, _ = source.native_shape
      plain.image_size = height if height == width else 0
  return open_dataset(plain)


def real(split: Split, num: int = 0) -> Pictures:
  """The first ``num`` examples of a split; 0 for all.

  Raises:
    ConfigError: more than there are.
  """
  if num > len(split):
    raise ConfigError(
      f"{num} real examples are asked for, and the split has {len(split)}; take --num_real={len(split)} or fewer"
    )
  rows = split.arrays()
  return Pictures(rows["image"][: num or None], rows["label"][: num or None])


def real_protocol(reference: Dataset, data: Any, split: str) -> dict[str, Any]:
  """What a score must say of the real pictures and of how both sides were prepared; ``split`` as in "test"."""
  return {
    "dataset": data.name,
    "split": data[f"{split}_split"],
    "image_shape": list(reference.image_shape),
    "resize": described(reference.source.native_shape, reference.image_shape, data.resize),
    "quantization": "none" if reference.source.kind == "points" else "uint8, rounded",
  }


def without_margin(pictures: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
  """The middle [N, *shape[:2], C] of pictures that padding made larger; smaller ones stay as they are."""
  top, left = (max(have - want, 0) // 2 for have, want in zip(pictures.shape[1:3], shape[:2], strict=True))
  return pictures[:, top : top + shape[0], left : left + shape[1]]


def drawn(sampler: Sampler, state: PyTree, seed: int, num: int, reference: Dataset) -> Pictures:
  """``num`` pictures of a model, rounded to uint8 and without the margin that its training images were padded by."""
  labels = sampler.labels(seed, np.arange(num)) if sampler.conditional else None
  if reference.source.kind == "points":
    return Pictures(sampler(state, seed, num, labels), labels)
  batches = sampler.batches(state, seed, num, labels)
  parts = [without_margin(images.to_uint8(x, reference.pixel_range), reference.image_shape) for x in batches]
  return Pictures(np.concatenate(parts), labels)


def see_features(metrics: Mapping[str, SampleMetric]) -> bool:
  """Whether any of them needs an extractor; the others are of pixels and labels."""
  return any({"features", "logits"} & metric.needs for metric in metrics.values())


class SampleScorer:
  """The chosen metrics against one reference, which is embedded once.

  Args:
    metrics: by name, as `common.evaluation.metrics.catalogue.build_metrics` makes them.
    extractor: what they see with.
    reference: the real pictures.
    embedder: runs the extractor.
    labelled: whether the pictures to be scored will have labels.
    num: how many there will be.

  Raises:
    ConfigError: a metric that needs what is not there, before anything is computed.
  """

  def __init__(
    self,
    metrics: Mapping[str, SampleMetric],
    extractor: Extractor,
    embedder: Embedder,
    reference: Pictures,
    *,
    labelled: bool,
    num: int,
  ):
    self._metrics, self._extractor, self._embedder = metrics, extractor, embedder
    self._pictures = reference
    for name, metric in metrics.items():
      if "logits" in metric.needs and not extractor.num_classes:
        raise ConfigError(
          f"the metric {name} needs a classifier's logits, which the features {extractor.name} have not; "
          "use --config.evaluate.features=classifier, or inception"
        )
      if "labels" in metric.needs and not (labelled and reference.labels is not None):
        whose = "the real pictures" if labelled else "the pictures to be scored"
        raise ConfigError(f"the metric {name} needs labels, and {whose} have none; leave it out")
      for least, count, what in zip(metric.least(), (len(reference), num), ("real", "generated"), strict=True):
        if count < least:
          raise ConfigError(f"the metric {name} needs {least} {what} pictures or more, and there are {count}")

  @functools.cached_property
  def _reference(self) -> SampleSet:
    return self._embedder.reference(self._pictures.images, self._pictures.labels)

  @functools.cached_property
  def protocol(self) -> dict[str, Any]:
    """What a score must say of the extractor and of the real pictures.

    Raises:
      ConfigError: a classifier that misreads them.
    """
    extractor, said = self._extractor, {}
    if extractor.accuracy is not None:
      said = {
        "extractor_accuracy": round(extractor.accuracy, 4),
        "extractor_accuracy_real": read(extractor, self._reference),
      }
    return {
      "extractor": extractor.name,
      "extractor_resize": extractor.resize,
      **said,
      "n_real": len(self._pictures),
      "real_sha": sha8((self._pictures.images, self._pictures.labels)),
    }

  def owners(self) -> dict[str, SampleMetric]:
    """{full name of a score: the metric that gives it}, before any is computed."""
    return {self.full_name(name, metric): metric for metric in self._metrics.values() for name in metric.better}

  def __call__(self, pictures: Pictures, seed: int, skip: Callable[[str], None] | None = None) -> dict[str, Score]:
    """Scores by full name; one that sees through an extractor is named after it, "frechet@classifier:digits-1a2b3c4d".

    Args:
      pictures: what is scored.
      seed: of subsets and draws.
      skip: told of a metric that has no value for these pictures, which is then left out; None: that is an error.

    Raises:
      ConfigError: pictures of another shape or kind than the reference, or that a metric has no value for.
    """
    check_pictures(pictures.images, self._pictures.images)
    found: dict[str, Score] = {}
    try:
      fake = self._embedder(pictures.images, pictures.labels)
      for name, metric in self._metrics.items():
        try:
          scores = metric(self._reference, fake, seed)
        except ValueError as error:
          if skip is None:
            raise
          skip(f"{name} is left out: {error}")
          continue
        found |= {self.full_name(score, metric): value for score, value in scores.items()}
    except ValueError as error:
      raise ConfigError(str(error)) from error
    return found

  def full_name(self, name: str, metric: SampleMetric) -> str:
    """ "frechet@classifier:digits-1a2b3c4d", or just the name of what sees pixels and labels only."""
    sees = {"features", "logits"} & metric.needs
    return f"{name}@{self._extractor.name}" if sees else name


def read(extractor: Extractor, real: SampleSet) -> float | str:
  """The accuracy of a classifier on real pictures as they are resized for it; of stacked ones, that of their channels.

  Why it is not known, where they have no labels or other classes than the classifier.

  Raises:
    ConfigError: it is lower than what the classifier says of itself by more than ACCURACY_LOST, and its error.
  """
  if real.labels is None:
    return "not known: the real pictures have no labels"
  classes = extractor.num_classes // extractor.channels
  true = channel_classes(labels_of(real, "real"), classes, extractor.channels)
  if true is None or real.logits is None:
    return f"not known: the real pictures are of other classes than the classifier's {classes}"
  seen = np.argmax(real.logits.reshape((*true.shape, classes)), axis=2)
  found = share((seen == true).ravel(), "real pictures")
  assert extractor.accuracy is not None
  if found.value + found.standard_error < extractor.accuracy - ACCURACY_LOST:
    height, width = real.images.shape[1:3]
    raise ConfigError(
      f"the extractor {extractor.name} reads {found.value:.1%} of the {len(real):,} real pictures of {height}x{width} "
      f"as they are labelled (resize: {extractor.resize}) and {extractor.accuracy:.1%} of its own test pictures, so "
      "that scores would be of what it misreads; use --config.evaluate.features=random, which names no classes, or a "
      "classifier of such pictures: configs/classifier.py at their size, written to a file by experiments."
      "export_classifier"
    )
  return round(found.value, 4)


def check_pictures(pictures: np.ndarray, reference: np.ndarray) -> None:
  """Raises ConfigError where pictures cannot be compared with the reference: shape, colour, type, or not finite."""
  if pictures.shape[1:] != reference.shape[1:]:
    ours, theirs = pictures.shape[1:], reference.shape[1:]
    way = "take a reference of that size"
    if len(ours) == 3 and ours[:2] == theirs[:2]:
      way = "both must be grey (1 channel) or both colour (3)"
    raise ConfigError(f"the pictures are {ours} (height, width, channels) and the real ones {theirs}: {way}")
  if pictures.dtype != reference.dtype:
    raise ConfigError(f"the pictures are {pictures.dtype} and the real ones {reference.dtype}")
  if pictures.dtype.kind == "f" and not np.all(np.isfinite(pictures)):
    raise ConfigError(f"{np.sum(~np.isfinite(pictures))} values of the pictures are not finite")
