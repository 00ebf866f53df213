"""The Frechet distance between Gaussians fitted to features (Heusel et al. 2017, arXiv:1706.08500, Eq. 6).

Its name includes the extractor: it is an FID only with the features of InceptionV3 of 2015. Moments are float64 on the
host, because float32 sums are wrong in the digits in which two close sets differ.
"""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from common.evaluation.metrics.feature_sets import check_mode, check_pair
from common.evaluation.metrics.jackknife import check_groups, group_ids, jackknife_error
from common.evaluation.metrics.score import Need, SampleSet, Score


@dataclasses.dataclass(frozen=True)
class Gaussian:
  """A mean [D] and a covariance [D, D] (n - 1 in its denominator) in float64, and the number of features behind them.

  The rank of the covariance is at most count - 1, and the distance between two samples of one distribution falls
  towards 0 about as 1 / count, so that only distances with equal counts compare.

  Attributes:
    mean: [D].
    covariance: [D, D].
    count: number of features.
    factor: A [count, D] with A'A the covariance, if there are fewer features than dimensions: exact where roots of a
      singular matrix are not. None otherwise.
  """

  mean: np.ndarray
  covariance: np.ndarray
  count: int
  factor: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Moments:
  """Count, mean [D] and scatter [D, D] of features; also the features if they are fewer than their dimensions."""

  count: int
  mean: np.ndarray
  scatter: np.ndarray
  rows: np.ndarray | None

  @classmethod
  def of(cls, features: np.ndarray) -> "Moments":
    """Returns the moments of features [N, D], N of 1 or more."""
    rows = np.asarray(features, np.float64)
    mean = rows.mean(axis=0)
    centred = rows - mean
    return cls(len(rows), mean, centred.T @ centred, rows if len(rows) < len(mean) else None)

  @classmethod
  def merged(cls, parts: "Sequence[Moments]") -> "Moments":
    """Returns the moments of the union of one or more sets (Chan et al. 1983)."""
    count = sum(part.count for part in parts)
    mean = sum((part.count / count * part.mean for part in parts), np.zeros_like(parts[0].mean))
    shifts = [part.mean - mean for part in parts]
    scatter = sum(
      (part.scatter + part.count * np.outer(shift, shift) for part, shift in zip(parts, shifts, strict=True)),
      np.zeros_like(parts[0].scatter),
    )
    few = [part.rows for part in parts if part.rows is not None] if count < len(mean) else []
    return cls(count, mean, scatter, np.concatenate(few) if few else None)

  def gaussian(self) -> Gaussian:
    """Returns the Gaussian with these moments.

    Raises:
      ValueError: fewer than two features.
    """
    if self.count < 2:
      raise ValueError(f"{self.count} features have no covariance; add 2 or more")
    factor = None if self.rows is None else (self.rows - self.mean) / np.sqrt(self.count - 1)
    return Gaussian(self.mean, self.scatter / (self.count - 1), self.count, factor)


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
  """Returns |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), 0 or more, in squared units of the features.

  With C = A'A, the last trace is the sum of the singular values of A1 A2'. A is the symmetric root of C, or the centred
  features if they are fewer than their dimensions. Neither needs full rank, a small multiple of I, or the real part of
  a complex root.

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

  The error comes from the jackknife (jackknife.py). It covers chance and not the bias of few samples, which all groups
  share.

  Attributes:
    mode: "exact", or "torch_fidelity" for the arithmetic of that package; both have the error of the exact one.
    groups: groups of the jackknife, 2 or more, each of which costs a distance.
  """

  mode: str = "exact"
  groups: int = 10
  needs: ClassVar[frozenset[Need]] = frozenset({"features"})
  better: ClassVar[dict[str, str]] = {"frechet": "min"}

  def __post_init__(self) -> None:
    check_mode(self.mode)
    check_groups(self.groups)

  def least(self) -> tuple[int, int]:
    return (max(self.groups, 4),) * 2

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    features = check_pair(real, fake, self.least())
    groups = group_ids([len(rows) for rows in features], self.groups, seed)
    sides = [
      [Moments.of(rows[ids == group]) for group in range(self.groups)]
      for rows, ids in zip(features, groups, strict=True)
    ]
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


def _root(covariance: np.ndarray) -> np.ndarray:
  """Returns the symmetric square root; eigenvalues that rounding made negative count as 0."""
  values, vectors = np.linalg.eigh(covariance)
  return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
