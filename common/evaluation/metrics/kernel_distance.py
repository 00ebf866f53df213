"""The kernel distance between features: squared maximum mean discrepancy of a cubic kernel (Binkowski et al. 2018).

arXiv:1801.01401. On InceptionV3's features it is the KID. Unlike the Frechet distance it is unbiased: scores with
different numbers of samples compare, and two samples of one distribution score 0 on average, hence sometimes less. This
holds for independent sets only: images in both sets pull the score below 0, and a set has no distance to itself.
"""

import collections
import dataclasses
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from common.evaluation.metrics.feature_sets import check_mode, check_pair
from common.evaluation.metrics.score import Need, SampleSet, Score

TORCH_FIDELITY_SEED = 2020
BLOCK = 1024


def cubic_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Returns (x.y / D + 1)^3 for [N, D] and [M, D], [N, M] in their precision (Binkowski et al. 2018)."""
  return (np.matmul(x, y.T) * (1.0 / x.shape[1]) + 1) ** 3


def squared_mmd(x: np.ndarray, y: np.ndarray, block: int = BLOCK) -> tuple[float, float]:
  """Returns the unbiased estimate over all pairs, in float64, and its standard error (Gretton et al. 2012, Eq. 3).

  The error is a jackknife over the rows of both sets (Arvesen 1969) with sums in closed form: right for sets that
  differ, and on the large side for samples of one distribution.

  Args:
    x: [N, D] with N of 3 or more.
    y: [M, D] with M of 3 or more.
    block: number of rows and columns of the kernel in memory at once.
  """
  x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
  n, m = len(x), len(y)
  within_x, within_y = _sums_within(x, block), _sums_within(y, block)
  across_x, across_y = np.zeros(n), np.zeros(m)
  for rows in _parts(n, block):
    for columns in _parts(m, block):
      kernel = cubic_kernel(x[rows], y[columns])
      across_x[rows] += kernel.sum(axis=1)
      across_y[columns] += kernel.sum(axis=0)
  mean_x, mean_y = within_x.sum() / (n * (n - 1)), within_y.sum() / (m * (m - 1))
  across = across_x.sum()
  value = mean_x + mean_y - 2.0 * across / (n * m)
  without_x = _mean_without(within_x) + mean_y - 2.0 * (across - across_x) / ((n - 1) * m)
  without_y = mean_x + _mean_without(within_y) - 2.0 * (across - across_y) / (n * (m - 1))
  error = np.sqrt((n - 1) * np.var(without_x) + (m - 1) * np.var(without_y))
  return float(value), float(error)


def rows_in_both(first: np.ndarray, second: np.ndarray) -> int:
  """Counts the rows that are in both sets, to the bit, each as often as it is in both: [N, D], [M, D]."""
  ours, theirs = (collections.Counter(row.tobytes() for row in rows) for rows in (first, second))
  return (ours & theirs).total()


def torch_fidelity_mmds(first: np.ndarray, second: np.ndarray, subsets: int, subset_size: int) -> np.ndarray:
  """Returns estimates of random subsets by the arithmetic and random numbers of torch-fidelity 0.3 and 0.4, [subsets].

  Kernel and sums have the precision of the features; each round draws from the first set, then from the second.
  """
  draws, out = np.random.RandomState(TORCH_FIDELITY_SEED), np.zeros(subsets)
  for i in range(subsets):
    x = first[draws.choice(len(first), subset_size, replace=False)]
    y = second[draws.choice(len(second), subset_size, replace=False)]
    own = [kernel.sum(axis=1) - np.diagonal(kernel) for kernel in (cubic_kernel(x, x), cubic_kernel(y, y))]
    across = cubic_kernel(x, y).sum(axis=0).sum()
    total = (own[0].sum() + own[1].sum()) / (subset_size * (subset_size - 1))
    out[i] = total - 2 * across / (subset_size * subset_size)
  return out


@dataclasses.dataclass(frozen=True)
class KernelDistance:
  """`squared_mmd` of real and generated features.

  Attributes:
    mode: "exact" takes all pairs; "torch_fidelity" is the mean over random subsets as in that package, with the error
      that it prints: the standard deviation of one subset, not of the mean of all.
    subsets: number of subsets, for mode torch_fidelity.
    subset_size: images in a subset, for mode torch_fidelity.
  """

  mode: str = "exact"
  subsets: int = 100
  subset_size: int = 1000
  needs: ClassVar[frozenset[Need]] = frozenset({"features"})
  better: ClassVar[dict[str, str]] = {"kernel_distance": "min"}

  def __post_init__(self) -> None:
    check_mode(self.mode)
    if self.subsets < 1 or self.subset_size < 2:
      raise ValueError(f"subsets={self.subsets} of subset_size={self.subset_size}: at least 1 of 2 is needed")

  def least(self) -> tuple[int, int]:
    return (self.subset_size if self.mode == "torch_fidelity" else 3,) * 2

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    first, second = check_pair(real, fake, self.least())
    if self.mode == "exact":
      shared, method = rows_in_both(first, second), "jackknife over the samples of both sets"
      if shared == min(len(first), len(second)):
        raise ValueError(
          f"all {shared} pictures of one set are in the other, and the kernel distance is of sets that were drawn "
          "independently; leave it out, or score other pictures"
        )
      value, error = squared_mmd(first, second)
      return {"kernel_distance": Score(value, error, f"{method}, {shared} of them in both" if shared else method)}
    # The generated set is that package's first input.
    mmds = torch_fidelity_mmds(second, first, self.subsets, self.subset_size)
    method = f"standard deviation of {self.subsets} subsets of {self.subset_size}, not of their mean"
    return {"kernel_distance": Score(float(np.mean(mmds)), float(np.std(mmds)), method)}


def _sums_within(x: np.ndarray, block: int) -> np.ndarray:
  """Sums each row's kernel with all others, [N]; each pair is computed once."""
  sums = np.zeros(len(x))
  for rows in _parts(len(x), block):
    for columns in _parts(len(x), block):
      if columns.start < rows.start:
        continue
      kernel = cubic_kernel(x[rows], x[columns])
      if columns == rows:
        np.fill_diagonal(kernel, 0.0)
      else:
        sums[columns] += kernel.sum(axis=0)
      sums[rows] += kernel.sum(axis=1)
  return sums


def _mean_without(sums: np.ndarray) -> np.ndarray:
  """Returns the mean over the pairs that remain without each row, [N]."""
  n = len(sums)
  return (sums.sum() - 2.0 * sums) / ((n - 1) * (n - 2))


def _parts(count: int, block: int) -> Iterator[slice]:
  return (slice(start, min(start + block, count)) for start in range(0, count, block))
