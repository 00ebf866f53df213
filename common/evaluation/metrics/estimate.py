"""A mean over the images of a split with its standard error, and whether two models differ by more than that."""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A mean of independent values.

  Attributes:
    mean: of the values.
    standard_error: their standard deviation (n - 1 in its denominator) over the root of their number.
    count: their number.
  """

  mean: float
  standard_error: float
  count: int


def estimate(values: np.ndarray) -> Estimate:
  """Returns the mean of one value for each image, [N].

  Raises:
    ValueError: another shape, fewer than two values, or one that is not finite.
  """
  values = np.asarray(values, np.float64)
  if values.ndim != 1 or len(values) < 2:
    raise ValueError(f"values of shape {values.shape}: a standard error needs [N] with N of 2 or more")
  if not np.all(np.isfinite(values)):
    raise ValueError(f"{np.sum(~np.isfinite(values))} of {len(values)} values are not finite")
  error = np.std(values, ddof=1) / np.sqrt(len(values))
  return Estimate(mean=float(np.mean(values)), standard_error=float(error), count=len(values))


def paired_difference(first: np.ndarray, second: np.ndarray) -> Estimate:
  """Returns the mean of first - second, [N] each, for two models on the same images in the same order.

  Images differ from each other far more than models do on one image, so that this error is many times smaller than
  the error of either mean.

  Raises:
    ValueError: other shapes, or values that `estimate` rejects.
  """
  first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
  if first.shape != second.shape:
    raise ValueError(f"values of shapes {first.shape} and {second.shape} are not of the same images")
  return estimate(first - second)


def binomial_error(share: float, count: int) -> float:
  """Returns the standard error of a share of ``count``, never 0: at 0 or 1 as if half an outcome were the other one."""
  share = min(max(share, 0.5 / count), 1.0 - 0.5 / count)
  return math.sqrt(share * (1.0 - share) / count)
