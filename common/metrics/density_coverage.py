"""Density and coverage of features (Naeem et al. 2020, arXiv:2002.09797).

About each real point is a ball that reaches to its k-th real neighbour. Density is how many balls a generated point
lies in, over k: 1 on average for the real distribution, more where mostly dense places are drawn from. Coverage is the
share of balls with a generated point in them; for the real distribution, `expected_coverage`.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from common.metrics.distances import balls_around, kth_distance, nearest
from common.metrics.feature_sets import check_pair
from common.metrics.precision_recall import binomial_error, scores_of_parts
from common.metrics.score import Need, SampleSet, Score


def expected_coverage(num_real: int, num_fake: int, k: int) -> float:
  """Coverage between samples of one continuous distribution, on average, whatever it is (Naeem et al. 2020)."""
  steps = np.arange(1, k + 1)
  return float(1.0 - np.prod((num_real - steps) / (num_real + num_fake - steps)))


def balls_and_hits(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
  """Balls about each generated point over k, float64 [M], and whether each real ball holds one, bool [N].

  A ball's surface is outside, as in the authors' code: with `real` itself as `fake`, all densities average to 1.

  Args:
    real: [N, D] with N above k.
    fake: [M, D].
    k: which neighbour, the point itself not counted.
  """
  radii = kth_distance(real, k)
  return balls_around(fake, real, radii, strict=True) / k, nearest(real, fake, 1)[0][:, 0] < radii


def density_and_coverage(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, tuple[float, float]]:
  """{"density", "coverage"} of [N, D] and [M, D], each with its error, the other set held fixed."""
  balls, hits = balls_and_hits(real, fake, k)
  error = float(np.std(balls, ddof=1) / np.sqrt(len(balls)))
  return {"density": (float(np.mean(balls)), error), "coverage": (float(np.mean(hits)), binomial_error(hits))}


@dataclasses.dataclass(frozen=True)
class DensityCoverage:
  """`balls_and_hits` of generated among real features.

  Attributes:
    k: which neighbour sets a radius; the paper's is 5.
    parts: disjoint parts of both sets that the errors come from.
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
    return scores_of_parts(lambda x, y: density_and_coverage(x, y, self.k), ours, theirs, self.parts, seed)
