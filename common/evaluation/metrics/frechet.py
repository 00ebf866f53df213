"""The Frechet distance between Gaussians fitted to features (Heusel et al. 2017, arXiv:1706.08500, Eq. 6).

It goes by the name of its extractor: only InceptionV3's features of 2015 make it an FID. Moments are kept in float64 on
the host, as float32 sums are off in the digits that two close sets differ in.
"""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from common.evaluation.metrics.feature_sets import check_mode, check_pair
from common.evaluation.metrics.jackknife import group_ids, jackknife_error
from common.evaluation.metrics.score import Need, SampleSet, Score


@dataclasses.dataclass(frozen=True)
class Gaussian:
  """A mean [D] and a covariance [D, D] (n - 1 in its denominator) in float64, and the number of features behind them.

  Of ``count`` features the covariance has rank count - 1 at most; the distance between two samples of one distribution
  falls towards 0 about as 1 / count, so that only distances of equal counts compare.

  Attributes:
    mean: [D].
    covariance: [D, D].
    count: of features.
    factor: of fewer features than dimensions, A [count, D] with A'A the covariance: exact where roots of a singular
      matrix are not. None of more.
  """

  mean: np.ndarray
  covariance: np.ndarray
  count: int
  factor: np.ndarray | None = None


class Moments:
  """Mean and scatter of features that come in batches, merged as Chan et al. 1983 do: exact however they are cut up.

  So long as they are fewer than their dimensions, the features themselves are kept as well.
  """

  def __init__(self, dim: int):
    self._count, self._mean, self._scatter = 0, np.zeros(dim), np.zeros((dim, dim))
    self._rows: np.ndarray | None = np.zeros((0, dim))

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
    centred = rows - mean
    self._merge(len(rows), mean, centred.T @ centred, rows)

  def merge(self, other: "Moments") -> None:
    """Adds all that the other has been given."""
    if other._count:
      self._merge(other._count, other._mean, other._scatter, other._rows)

  @classmethod
  def merged(cls, parts: "Sequence[Moments]") -> "Moments":
    """What all of them have been given, one or more."""
    whole = cls(len(parts[0]._mean))
    for part in parts:
      whole.merge(part)
    return whole

  def _merge(self, count: int, mean: np.ndarray, scatter: np.ndarray, rows: np.ndarray | None) -> None:
    shift, total = mean - self._mean, self._count + count
    self._scatter += scatter + np.outer(shift, shift) * (self._count * count / total)
    self._mean += shift * (count / total)
    self._count = total
    few = self._rows is not None and rows is not None and total < len(self._mean)
    self._rows = np.concatenate([self._rows, rows]) if few else None

  def gaussian(self) -> Gaussian:
    """What has been added so far.

    Raises:
      ValueError: fewer than two features.
    """
    if self._count < 2:
      raise ValueError(f"{self._count} features have no covariance; add 2 or more")
    factor = None if self._rows is None else (self._rows - self._mean) / np.sqrt(self._count - 1)
    return Gaussian(self._mean.copy(), self._scatter / (self._count - 1), self._count, factor)


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
  """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), 0 or more; in squared units of the features.

  With C = A'A, that last trace is the sum of the singular values of A1 A2'. A is the symmetric root of C, or the
  centred features where they are fewer than their dimensions: neither needs full rank, a small multiple of I, or the
  real part of a complex root.

  Raises:
    ValueError: features of different sizes.
  """
  if first.mean.shape != second.mean.shape:
    raise ValueError(f"features of {len(first.mean)} and {len(second.mean)} numbers are not of one extractor")
  factors = [_root(g.covariance) if g.factor is None else g.factor for g in (first, second)]
  cross = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
  spread = np.trace(first.covariance) + np.trace(second.covariance) - 2.0 * cross
  return max(0.0, float(np.sum((first.mean - second.mean) ** 2) + spread))


def torch_fidelity_frechet(first: np.ndarray, second: np.ndarray) -> float:
  """The distance of float32 features [N, D] and [M, D] by torch-fidelity's arithmetic (0.3 and 0.4).

  Its means are float32 sums, its trace sums the roots of the eigenvalues of C1 C2. Rounding there can make it negative.
  """
  means = [np.mean(rows, axis=0) for rows in (first, second)]
  covariances = [np.cov(rows, rowvar=False) for rows in (first, second)]
  roots = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).astype(np.complex128))
  shift = means[0] - means[1]
  return float(shift @ shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2.0 * np.sum(roots.real))


@dataclasses.dataclass(frozen=True)
class FrechetDistance:
  """`frechet_distance` of real and generated features.

  Its error is of the jackknife (jackknife.py). What few samples add to the distance is in all groups alike, so that the
  error is of the chance and not of that bias.

  Attributes:
    mode: "exact", or "torch_fidelity" for the arithmetic of that package; the error is the exact one's in both.
    groups: of the jackknife, 2 or more; so many distances are computed.
  """

  mode: str = "exact"
  groups: int = 10
  needs: ClassVar[frozenset[Need]] = frozenset({"features"})
  better: ClassVar[dict[str, str]] = {"frechet": "min"}

  def __post_init__(self) -> None:
    check_mode(self.mode)
    if self.groups < 2:
      raise ValueError(f"groups={self.groups}: a jackknife needs 2 or more")

  def least(self) -> tuple[int, int]:
    return (max(self.groups, 4),) * 2

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    features = check_pair(real, fake, self.least())
    groups = group_ids([len(rows) for rows in features], self.groups, seed)
    sides = [_grouped(rows, ids, self.groups) for rows, ids in zip(features, groups, strict=True)]
    value = frechet_distance(*(Moments.merged(side).gaussian() for side in sides))
    without = [
      frechet_distance(*(Moments.merged([*side[:i], *side[i + 1 :]]).gaussian() for side in sides))
      for i in range(self.groups)
    ]
    if self.mode == "torch_fidelity":
      value = torch_fidelity_frechet(features[1], features[0])  # the generated set is that package's first input
    method = f"jackknife over {self.groups} groups of each set"
    error = jackknife_error(without)
    return {"frechet": Score(value, error, method, range=(0.0, np.inf), freedom=self.groups - 1)}


def _grouped(features: np.ndarray, ids: np.ndarray, groups: int) -> list[Moments]:
  """Moments of the rows [N, D] of each group, by their groups [N]."""
  parts = []
  for group in range(groups):
    rows = np.flatnonzero(ids == group)
    parts.append(Moments(features.shape[1]))
    for start in range(0, len(rows), 4096):
      parts[-1].add(features[rows[start : start + 4096]])
  return parts


def _root(covariance: np.ndarray) -> np.ndarray:
  """The symmetric square root; eigenvalues that rounding made negative count as 0."""
  values, vectors = np.linalg.eigh(covariance)
  return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
