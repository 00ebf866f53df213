"""The labels and logits of images, checked for metrics, and scores that are shares of images."""

import math

import numpy as np

from common.evaluation.metrics.estimate import binomial_error
from common.evaluation.metrics.score import SampleSet, Score


def labels_of(samples: SampleSet, whose: str) -> np.ndarray:
  """Returns the labels, int64 [N]; ``whose`` is "real" or "generated", for errors.

  Raises:
    ValueError: no labels, not one for each image, or one that is not a class.
  """
  if samples.labels is None:
    raise ValueError(
      f"the {whose} pictures have no labels; take those of a conditional model, or leave this metric out"
    )
  labels = np.asarray(samples.labels)
  if labels.shape != (len(samples),):
    raise ValueError(f"labels of shape {labels.shape} are not one for each of {len(samples)} {whose} pictures")
  if labels.dtype.kind not in "iu" or np.any(labels < 0):
    raise ValueError(f"the labels of the {whose} pictures must be whole numbers of 0 or more, and these are not")
  return labels.astype(np.int64)


def logits_of(samples: SampleSet, whose: str) -> np.ndarray:
  """Returns the logits, float [N, K]; ``whose`` is "real" or "generated", for errors.

  Raises:
    ValueError: no logits, another shape, or values that are not finite.
  """
  if samples.logits is None:
    raise ValueError(f"the {whose} pictures have no logits; take the features of a classifier")
  logits = np.asarray(samples.logits)
  if logits.ndim != 2 or len(logits) != len(samples):
    raise ValueError(f"logits of shape {logits.shape} are not [{len(samples)}, K], one row for each {whose} picture")
  if not np.all(np.isfinite(logits)):
    raise ValueError(f"{np.sum(~np.isfinite(logits).all(axis=1))} of {len(logits)} {whose} logits are not finite")
  return logits


def channel_classes(labels: np.ndarray, classes: int, channels: int) -> np.ndarray | None:
  """Splits labels [N] such as 100 a + 10 b + c into the classes of channels, [N, channels]; None if out of range."""
  if np.max(labels, initial=0) >= classes**channels:
    return None
  return np.stack(np.unravel_index(labels, (classes,) * channels), axis=1)


def share(hits: np.ndarray, method: str) -> Score:
  """Returns the share of true entries, bool [N], with its binomial standard error; ``method`` names the entries."""
  value, total = float(np.mean(hits)), len(hits)
  error = binomial_error(value, total)
  return Score(value, error, f"binomial over {total} {method}", range=(0.0, 1.0), trials=total)


def share_with_error(value: float, error: float, method: str, count: int, freedom: float = math.inf) -> Score:
  """Returns a share of ``count`` images that depend on each other, with an error of its own.

  The binomial error replaces an error of 0, which occurs if all images agree.
  """
  alone = binomial_error(value, count)
  error = error or alone
  trials = count * (alone / error) ** 2
  return Score(value, error, method, range=(0.0, 1.0), trials=trials, freedom=freedom)
