"""Improved precision and recall of features (Kynkaanniemi et al. 2019, arXiv:1904.06991, Eqs. 1 and 2).

The manifold of a set is the union of balls around its points, each with a radius of the distance to the k-th neighbour
in the set. Precision is the share of generated points on the real manifold, recall the share of real points on the
generated one. Both depend on the number of points in the manifold, so that only scores with equal numbers compare.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from common.evaluation.metrics.distances import balls_around, kth_distance
from common.evaluation.metrics.estimate import binomial_error
from common.evaluation.metrics.feature_sets import check_pair
from common.evaluation.metrics.labels import share_with_error
from common.evaluation.metrics.score import Need, SampleSet, Score


def on_manifold(queries: np.ndarray, points: np.ndarray, k: int) -> np.ndarray:
  """Returns whether each query is within some point's distance to its k-th other point, surface included: bool [N].

  Args:
    queries: [N, D].
    points: [M, D] with M above k.
    k: which neighbour; the point itself does not count.
  """
  return balls_around(queries, points, kth_distance(points, k)) > 0


def precision_and_recall(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, tuple[float, float]]:
  """Returns {"precision", "recall"} of [N, D] and [M, D], each with its binomial error for a fixed other set."""
  hits = {"precision": on_manifold(fake, real, k), "recall": on_manifold(real, fake, k)}
  return {name: (value := float(np.mean(on)), binomial_error(value, len(on))) for name, on in hits.items()}


def check_parts(k: int, parts: int) -> None:
  """Raises ValueError unless there is a k-th neighbour, and a spread over parts."""
  if k < 1 or parts < 2:
    raise ValueError(f"k={k} must be 1 or more, and parts={parts} 2 or more")


def scores_of_parts(
  statistic: Callable[[np.ndarray, np.ndarray], dict[str, tuple[float, float]]],
  real: np.ndarray,
  fake: np.ndarray,
  parts: int,
  seed: int,
  shares: Mapping[str, int],
) -> dict[str, Score]:
  """Scores a statistic that depends on neighbours, with errors for the chance in both sets.

  The error is the spread over disjoint random parts of both sets, divided by the root of their number. Unlike sets with
  rows left out or repeated, parts are independent and have proper neighbours. The statistic's own error, for one fixed
  set, is a lower bound, which matters if parts happen to agree.

  Args:
    statistic: features [N, D] and [M, D] -> {name: (value, error for one fixed set)}.
    real: [N, D].
    fake: [M, D].
    parts: 2 or more.
    seed: seed of the parts.
    shares: {name of a share: its number of images}; all others range from 0 upwards.
  """
  rng = np.random.Generator(np.random.Philox(seed))
  cuts = [rng.permutation(len(rows))[: len(rows) // parts * parts].reshape(parts, -1) for rows in (real, fake)]
  found = [statistic(real[ours], fake[theirs]) for ours, theirs in zip(*cuts, strict=True)]
  scores = {}
  for name, (value, least) in statistic(real, fake).items():
    error = float(np.std([part[name][0] for part in found], ddof=1) / np.sqrt(parts))
    error, method = max(error, least), f"{parts} disjoint parts of both sets"
    if name in shares:
      scores[name] = share_with_error(value, error, method, shares[name], parts - 1)
    else:
      scores[name] = Score(value, error, method, range=(0.0, np.inf), freedom=parts - 1)
  return scores


@dataclasses.dataclass(frozen=True)
class PrecisionRecall:
  """`on_manifold` of generated images in the real manifold (precision) and vice versa (recall).

  Attributes:
    k: the neighbour that sets a radius; 3 in the paper.
    parts: number of disjoint parts of both sets, from which the errors come.
  """

  k: int = 3
  parts: int = 10
  needs: ClassVar[frozenset[Need]] = frozenset({"features"})
  better: ClassVar[dict[str, str]] = {"precision": "max", "recall": "max"}

  def __post_init__(self) -> None:
    check_parts(self.k, self.parts)

  def least(self) -> tuple[int, int]:
    return (self.parts * (self.k + 1),) * 2

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    ours, theirs = check_pair(real, fake, self.least())
    shares = {"precision": len(theirs), "recall": len(ours)}
    return scores_of_parts(lambda x, y: precision_and_recall(x, y, self.k), ours, theirs, self.parts, seed, shares)
