"""Density and coverage of features (Naeem et al. 2020, arXiv:2002.09797, Eqs. 3 and 4).

About each real point is a ball that reaches to its k-th real neighbour. Density is how many balls a generated point
lies in, over k: 1 on average for the real distribution, more where mostly dense places are drawn from. Coverage is the
share of balls with a generated point in them; for the real distribution, `expected_coverage`.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from common.metrics.distances import balls_around, check_features, kth_distance, nearest
from common.metrics.precision_recall import share
from common.metrics.score import Need, SampleSet, Score


def expected_coverage(num_real: int, num_fake: int, k: int) -> float:
  """Coverage between samples of one continuous distribution, on average, whatever it is (Naeem et al. 2020, Eq. 9)."""
  steps = np.arange(1, k + 1)
  return float(1.0 - np.prod((num_real - steps) / (num_real + num_fake - steps)))


def density_and_coverage(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
  """Balls about each generated point over k, float64 [M], and whether each real ball holds one, bool [N].

  A ball's surface is outside, as in the authors' code: with `real` itself as `fake`, all densities average to 1.

  Args:
    real: [N, D] with N above k.
    fake: [M, D].
    k: which neighbour, the point itself not counted.
  """
  radii = kth_distance(real, k)
  return balls_around(fake, real, radii, strict=True) / k, nearest(real, fake, 1)[0][:, 0] < radii


@dataclasses.dataclass(frozen=True)
class DensityCoverage:
  """`density_and_coverage` of generated among real features.

  The errors are of the points that are counted (the generated for density, the real for coverage), the other set held
  fixed.

  Attributes:
    k: which neighbour sets a radius; the paper's is 5.
  """

  k: int = 5
  needs: ClassVar[frozenset[Need]] = frozenset({"features"})
  better: ClassVar[dict[str, str]] = {"density": "max", "coverage": "max"}

  def __post_init__(self) -> None:
    if self.k < 1:
      raise ValueError(f"k={self.k} must be 1 or more")

  def least(self) -> tuple[int, int]:
    return self.k + 1, 2

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    ours, theirs = check_features(real.features, "real features"), check_features(fake.features, "generated features")
    if len(ours) <= self.k or len(theirs) < 2:
      raise ValueError(
        f"k={self.k} needs more than {self.k} real samples and 2 generated ones, not {len(ours)} and {len(theirs)}"
      )
    densities, covered = density_and_coverage(ours, theirs, self.k)
    error = float(np.std(densities, ddof=1) / np.sqrt(len(densities)))
    return {
      "density": Score(float(np.mean(densities)), error, "mean over the generated, the real held fixed"),
      "coverage": share(covered, "binomial over the real, the generated held fixed"),
    }
