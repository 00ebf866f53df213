"""The sliced Wasserstein distance between features (Rabin et al. 2011; Bonneel et al. 2015), squared.

On a line the best transport keeps the order of the points, so that it costs a sort. The features of the extractor
``pixels`` give the distance of the pictures themselves.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common.errors import ConfigError
from common.evaluation.metrics.distances import check_features
from common.evaluation.metrics.jackknife import group_ids, jackknife_error
from common.evaluation.metrics.score import Need, SampleSet, Score
from common.types import Array

DIRECTIONS_SEED = 0  # the same directions for all scores, so that their choice drops out of a comparison
BLOCK = 1 << 22  # projections in memory at once


def unit_directions(count: int, dim: int) -> np.ndarray:
  """Uniform on the sphere, [count, D] in float64; the first ones do not depend on their number."""
  rows = np.random.Generator(np.random.Philox(DIRECTIONS_SEED)).standard_normal((count, dim))
  return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@functools.lru_cache(maxsize=8)
def quantile_coupling(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Which of n sorted points goes to which of m, and with what weight: three arrays of equal length, weights sum to 1.

  Each of the first is worth m, each of the second n; cuts are whole numbers, so that none is lost or doubled.
  """
  cuts = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
  return cuts[:-1] // m, cuts[:-1] // n, np.diff(cuts) / (n * m)


def sorted_squared_wasserstein(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """W2^2 between sets of numbers in ascending order, [P, N] and [P, M] -> [P] (Bonneel et al. 2015, Section 3.1)."""
  if x.shape == y.shape:
    return np.mean((x - y) ** 2, axis=1)
  rows, columns, weights = quantile_coupling(x.shape[1], y.shape[1])
  return (x[:, rows] - y[:, columns]) ** 2 @ weights


@dataclasses.dataclass(frozen=True)
class SlicedWasserstein:
  """The mean of W2^2 over projections on random unit directions, in squared units of the features.

  Two Gaussians of one covariance are at |m1 - m2|^2 / D. It is not without bias: few samples add to it, about in
  proportion to 1 / n. The error is of a jackknife over groups of both sets, for these directions.

  Attributes:
    directions: how many; fixed, whatever the seed.
    groups: of the jackknife, 2 or more.
  """

  directions: int = 512
  groups: int = 10
  needs: ClassVar[frozenset[Need]] = frozenset({"features"})
  better: ClassVar[dict[str, str]] = {"sliced_wasserstein": "min"}

  def __post_init__(self) -> None:
    if self.directions < 1:
      raise ConfigError(f"directions={self.directions} must be 1 or more")
    if self.groups < 2:
      raise ConfigError(f"groups={self.groups}: a jackknife needs 2 or more")

  def least(self) -> tuple[int, int]:
    return self.groups, self.groups

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    x, y = check_features(real.features, "real features"), check_features(fake.features, "generated features")
    if x.shape[1] != y.shape[1]:
      raise ValueError(f"features of {x.shape[1]} and {y.shape[1]} numbers are not of one extractor")
    if min(len(x), len(y)) < self.groups:
      raise ValueError(
        f"{len(x)} real and {len(y)} generated features are fewer than groups={self.groups}; take more samples or "
        "fewer groups"
      )
    groups = group_ids([len(x), len(y)], self.groups, seed)
    total, without = 0.0, np.zeros(self.groups)
    for block in _projections((x, y), self.directions):
      sides = [_sorted(projected, ids) for projected, ids in zip(block, groups, strict=True)]
      total += np.sum(sorted_squared_wasserstein(*(values for values, _ in sides)))
      for g in range(self.groups):
        # A row that is sorted stays so when some of it go.
        kept = (values[ids != g].reshape(len(values), -1) for values, ids in sides)
        without[g] += np.sum(sorted_squared_wasserstein(*kept))
    method = f"jackknife over {self.groups} groups of each set, {self.directions} fixed directions"
    value, error = float(total / self.directions), jackknife_error(without / self.directions)
    return {"sliced_wasserstein": Score(value, error, method, range=(0.0, np.inf), freedom=self.groups - 1)}


def _projections(sets: tuple[np.ndarray, np.ndarray], count: int) -> Iterator[list[np.ndarray]]:
  """Both sets on some directions after the others, float64 [P, N] and [P, M]."""
  # Their common offset moves no distance, but would cost digits of float32.
  centre = np.mean(sets[0], axis=0, dtype=np.float64, keepdims=True)
  features = [jnp.asarray((rows - centre).astype(np.float32)) for rows in sets]
  directions = unit_directions(count, centre.shape[1]).astype(np.float32)
  size = max(1, BLOCK // sum(len(rows) for rows in sets))
  for start in range(0, count, size):
    yield [np.asarray(_project(directions[start : start + size], rows), np.float64) for rows in features]


@jax.jit
def _project(directions: Array, features: Array) -> Array:
  return jnp.matmul(directions, features.T, precision=lax.Precision.HIGHEST)


def _sorted(projected: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """[P, N] in ascending order, and the group of each, [P, N]."""
  order = np.argsort(projected, axis=1)
  return np.take_along_axis(projected, order, axis=1), groups[order]
