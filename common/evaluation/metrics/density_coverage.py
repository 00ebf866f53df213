"""Density and coverage of features (Naeem et al. 2020, arXiv:2002.09797).

About each real point is a ball that reaches to its k-th real neighbour. Density is how many balls a generated point
lies in, over k: 1 on average for the real distribution, more where mostly dense places are drawn from. Coverage is the
share of balls with a generated point in them; for the real distribution, `expected_coverage`.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from common.evaluation.metrics.distances import balls_around, kth_distance, nearest
from common.evaluation.metrics.feature_sets import check_pair
from common.evaluation.metrics.jackknife import group_ids, nth_without
from common.evaluation.metrics.labels import share_with_error
from common.evaluation.metrics.precision_recall import scores_of_parts
from common.evaluation.metrics.score import Need, SampleSet, Score

HALVINGS = 20


def expected_coverage(num_real: int, num_fake: int, k: int) -> float:
  """Coverage between samples of one continuous distribution, on average, whatever it is (Naeem et al. 2020)."""
  steps = np.arange(1, k + 1)
  return float(1.0 - np.prod((num_real - steps) / (num_real + num_fake - steps)))


def balls_around_each(real: np.ndarray, fake: np.ndarray, k: int) -> np.ndarray:
  """In how many balls about real points [N, D], N above k, each generated point [M, D] lies, over k: float64 [M].

  A ball's surface is outside, as in the authors' code: with `real` itself as `fake`, all densities average to 1.
  """
  return balls_around(fake, real, kth_distance(real, k), strict=True) / k


def coverage(real: np.ndarray, fake: np.ndarray, k: int, seed: int) -> tuple[float, float]:
  """The share of balls about real points [N, D] with a generated one [M, D] in them, and its standard error.

  Both sets are halved at random, HALVINGS times; the shares of the two halves differ by twice the error (half-samples,
  McCarthy 1969). Many smaller parts would not do: their coverage varies in another way, and errors came out at two
  thirds. Nor would a jackknife, in which few points that cover much count too much. Where generated pictures are many
  times as many as real ones, the error comes out about a fifth too small (Gaussians in 4 dimensions, 300 against 1,500
  and 4,500: its intervals held the truth in 87 and 85 % of draws).
  """
  own = nearest(real, real, min(4 * k + 10, len(real) - 1), exclude_self=True)
  theirs = nearest(real, fake, min(14, len(fake)))

  def without(group: int, ids: list[np.ndarray]) -> float:
    hits = nth_without(theirs, ids[1], group) < nth_without(own, ids[0], group, k)
    return float(np.mean(hits[ids[0] != group]))

  halves = [group_ids([len(real), len(fake)], 2, [seed, i]) for i in range(HALVINGS)]
  gaps = [without(0, ids) - without(1, ids) for ids in halves]
  return without(2, halves[0]), float(np.sqrt(np.mean(np.square(gaps)))) / 2.0


def density(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, tuple[float, float]]:
  """{"density"} of [N, D] and [M, D] with its error, the real set held fixed."""
  balls = balls_around_each(real, fake, k)
  return {"density": (float(np.mean(balls)), float(np.std(balls, ddof=1) / np.sqrt(len(balls))))}


@dataclasses.dataclass(frozen=True)
class DensityCoverage:
  """`balls_around_each` of generated among real features on average, and `coverage`.

  Attributes:
    k: which neighbour sets a radius; the paper's is 5.
    parts: disjoint parts of both sets that the error of the density comes from.
  """

  k: int = 5
  parts: int = 10
  needs: ClassVar[frozenset[Need]] = frozenset({"features"})
  better: ClassVar[dict[str, str]] = {"density": "max", "coverage": "max"}

  def __post_init__(self) -> None:
    if self.k < 1 or self.parts < 2:
      raise ValueError(f"k={self.k} must be 1 or more, and parts={self.parts} 2 or more")

  def least(self) -> tuple[int, int]:
    return self.parts * (self.k + 1), self.parts * 2

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    ours, theirs = check_pair(real, fake, self.least())
    scores = scores_of_parts(lambda x, y: density(x, y, self.k), ours, theirs, self.parts, seed, {})
    method = f"{HALVINGS} halvings of both sets"
    covered = share_with_error(*coverage(ours, theirs, self.k, seed), method, len(ours), HALVINGS)
    return scores | {"coverage": covered}
