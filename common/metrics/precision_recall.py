"""Improved precision and recall of features (Kynkaanniemi et al. 2019, arXiv:1904.06991, Eqs. 1 and 2).

The manifold of a set is the union of balls about its points, each as far as the point's k-th neighbour in the set.
Precision is the share of generated points on the real manifold, recall the share of real points on the generated one.
Both depend on how many points make the manifold: only figures of equal numbers compare.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from common.metrics.distances import balls_around, check_features, kth_distance
from common.metrics.score import Need, SampleSet, Score


def on_manifold(queries: np.ndarray, points: np.ndarray, k: int) -> np.ndarray:
  """Whether each query lies within some point's distance to its k-th other point, bool [N]; the surface belongs to it.

  Args:
    queries: [N, D].
    points: [M, D] with M above k.
    k: which neighbour, the point itself not counted.
  """
  return balls_around(queries, points, kth_distance(points, k)) > 0


def share(hits: np.ndarray, method: str) -> Score:
  """The share of True with the error of a binomial, [N]; of all or none, as if half a one were otherwise."""
  count = len(hits)
  value = float(np.mean(hits))
  spread = min(max(value, 0.5 / count), 1.0 - 0.5 / count)
  return Score(value, float(np.sqrt(spread * (1.0 - spread) / count)), method)


@dataclasses.dataclass(frozen=True)
class PrecisionRecall:
  """`on_manifold` of generated pictures in the real ones (precision) and the other way round (recall).

  The errors are binomial over the points that are counted; that the manifold is of a sample too is not in them.

  Attributes:
    k: which neighbour sets a radius; the paper's is 3.
  """

  k: int = 3
  needs: ClassVar[frozenset[Need]] = frozenset({"features"})
  better: ClassVar[dict[str, str]] = {"precision": "max", "recall": "max"}

  def __post_init__(self) -> None:
    if self.k < 1:
      raise ValueError(f"k={self.k} must be 1 or more")

  def least(self) -> tuple[int, int]:
    return self.k + 1, self.k + 1

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    ours, theirs = check_features(real.features, "real features"), check_features(fake.features, "generated features")
    if min(len(ours), len(theirs)) <= self.k:
      raise ValueError(
        f"k={self.k} needs more than {self.k} real and generated samples, not {len(ours)}, {len(theirs)}"
      )
    return {
      "precision": share(on_manifold(theirs, ours, self.k), "binomial over the generated, the real held fixed"),
      "recall": share(on_manifold(ours, theirs, self.k), "binomial over the real, the generated held fixed"),
    }
