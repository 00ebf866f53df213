"""The Frechet distance between Gaussians fitted to features (Heusel et al. 2017, arXiv:1706.08500, Eq. 6).

It goes by the name of its extractor: only InceptionV3's features of 2015 make it an FID. Moments are kept in float64 on
the host, as float32 sums are off in the digits that two close sets differ in.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Gaussian:
  """A mean [D] and a covariance [D, D] (n - 1 in its denominator) in float64, and the number of features behind them.

  Of ``count`` features the covariance has rank count - 1 at most; the distance between two samples of one distribution
  falls towards 0 about as 1 / count, so that only distances of equal counts compare.
  """

  mean: np.ndarray
  covariance: np.ndarray
  count: int


class Moments:
  """Mean and scatter of features that come in batches, merged as Chan et al. 1983 do: exact however they are cut up."""

  def __init__(self, dim: int):
    self._count, self._mean, self._scatter = 0, np.zeros(dim), np.zeros((dim, dim))

  def add(self, features: np.ndarray, mask: np.ndarray | None = None) -> None:
    """Adds features [B, D]; rows with mask 0 do not count.

    Raises:
      ValueError: another shape, or values that are not finite.
    """
    rows = np.asarray(features, np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(self._mean):
      raise ValueError(f"features of shape {rows.shape} are not [B, {len(self._mean)}]")
    if mask is not None:
      rows = rows[np.asarray(mask) > 0]
    if not np.all(np.isfinite(rows)):
      raise ValueError(f"{np.sum(~np.isfinite(rows).all(axis=1))} of {len(rows)} features are not finite")
    if not len(rows):
      return
    mean = rows.mean(axis=0)
    centred, shift, total = rows - mean, mean - self._mean, self._count + len(rows)
    self._scatter += centred.T @ centred + np.outer(shift, shift) * (self._count * len(rows) / total)
    self._mean += shift * (len(rows) / total)
    self._count = total

  def gaussian(self) -> Gaussian:
    """What has been added so far.

    Raises:
      ValueError: fewer than two features.
    """
    if self._count < 2:
      raise ValueError(f"{self._count} features have no covariance; add 2 or more")
    return Gaussian(self._mean.copy(), self._scatter / (self._count - 1), self._count)


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
  """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), 0 or more; in squared units of the features.

  The last trace is that of (A C2 A)^(1/2) with A = C1^(1/2), which is the sum of the singular values of C1^(1/2)
  C2^(1/2): symmetric roots, which need no full rank, no small multiple of I, and no real part of a complex root.

  Raises:
    ValueError: features of different sizes.
  """
  if first.mean.shape != second.mean.shape:
    raise ValueError(f"features of {len(first.mean)} and {len(second.mean)} numbers are not of one extractor")
  cross = np.linalg.svd(_root(first.covariance) @ _root(second.covariance), compute_uv=False).sum()
  spread = np.trace(first.covariance) + np.trace(second.covariance) - 2.0 * cross
  return max(0.0, float(np.sum((first.mean - second.mean) ** 2) + spread))


def _root(covariance: np.ndarray) -> np.ndarray:
  """The symmetric square root; eigenvalues that rounding made negative count as 0."""
  values, vectors = np.linalg.eigh(covariance)
  return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
