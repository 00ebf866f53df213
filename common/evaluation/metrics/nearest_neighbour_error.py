"""What the nearest neighbour says of generated pictures: of their labels, and whether they can be told from real ones.

Both ask for the one nearest feature; with the extractor ``pixels`` that is the nearest picture, as in DCGAN's table.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from common.evaluation.metrics.distances import nearest
from common.evaluation.metrics.labels import labels_of, share, share_with_error
from common.evaluation.metrics.score import Need, SampleSet, Score


def neighbour_clusters(neighbours: np.ndarray) -> np.ndarray:
  """[N] nearest neighbours -> [N] names of the connected parts of that graph.

  Whoever follows the neighbours ends in a pair that are each other's; the lower of the two names the part.
  """
  ends = neighbours
  for _ in range(len(neighbours).bit_length()):
    ends = ends[ends]
  return np.minimum(ends, neighbours[ends])


def clustered_error(values: np.ndarray, clusters: np.ndarray) -> float:
  """The standard error of the mean of values [N] that depend on each other within clusters [N] (Liang & Zeger 1986)."""
  parts, index = np.unique(clusters, return_inverse=True)
  sums = np.bincount(index, weights=values - np.mean(values), minlength=len(parts))
  return float(np.sqrt(np.sum(sums**2)) / len(values))


@dataclasses.dataclass(frozen=True)
class NearestNeighbourError:
  """The label error on real pictures of a nearest-neighbour classifier that has seen generated ones only.

  Of a conditional model, as in Radford et al. 2016 (arXiv:1511.06434, Table 3). Its floor stands beside it: each real
  picture by the nearest of all others. More generated pictures make it smaller, so that equal numbers compare. The
  standard error is of the real pictures, for these generated.
  """

  needs: ClassVar[frozenset[Need]] = frozenset({"features", "labels"})
  better: ClassVar[dict[str, str]] = {"nearest_neighbour_error": "min", "nearest_neighbour_error_real": ""}

  def least(self) -> tuple[int, int]:
    return 2, 1

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    truth, drawn = labels_of(real, "real"), labels_of(fake, "generated")
    by_fake = nearest(real.features, fake.features, 1)[1][:, 0]
    by_real = nearest(real.features, real.features, 1, exclude_self=True)[1][:, 0]
    return {
      "nearest_neighbour_error": share(drawn[by_fake] != truth, f"real pictures, by {len(fake)} generated"),
      "nearest_neighbour_error_real": share(truth[by_real] != truth, f"real pictures, by the {len(real) - 1} others"),
    }


@dataclasses.dataclass(frozen=True)
class NearestNeighbourTest:
  """How often the nearest other picture of a pool, half real and half generated, is of the same half.

  The two-sample test of Lopez-Paz & Oquab 2017 (arXiv:1610.06545), leave-one-out as in Xu et al. 2018
  (arXiv:1806.07755): 0.5 is best, 1 is told apart, and below 0.5 are pictures nearer to real ones than those are to
  each other, as copies are. Where generated ones crowd in a part of the data, theirs alone is the higher one. Of
  unequal sets a random part of the larger is taken. The error allows for pictures that share a neighbour: it is that of
  a mean over the connected parts of the graph.
  """

  needs: ClassVar[frozenset[Need]] = frozenset({"features"})
  better: ClassVar[dict[str, str]] = {
    "nearest_neighbour_accuracy": "",
    "nearest_neighbour_accuracy_real": "",
    "nearest_neighbour_accuracy_fake": "",
  }

  def least(self) -> tuple[int, int]:
    return 2, 2

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    count = min(len(real), len(fake))
    if count < 2:
      raise ValueError(f"{len(real)} real and {len(fake)} generated pictures: 2 or more of each are needed")
    if real.features.shape[1:] != fake.features.shape[1:]:
      raise ValueError(f"features of shapes {real.features.shape} and {fake.features.shape} are not of one extractor")
    draws = np.random.Generator(np.random.Philox(seed))
    halves = [draws.permutation(len(rows))[:count] for rows in (real, fake)]
    # Shuffled, so that of equally near ones the first is of either half.
    order = draws.permutation(2 * count)
    pool = np.concatenate([rows.features[half] for rows, half in zip((real, fake), halves, strict=True)])[order]
    is_fake = order >= count
    neighbours = nearest(pool, pool, 1, exclude_self=True)[1][:, 0]
    correct, clusters = (is_fake[neighbours] == is_fake).astype(np.float64), neighbour_clusters(neighbours)
    sides = {"": np.ones(2 * count, bool), "_real": ~is_fake, "_fake": is_fake}
    return {
      f"nearest_neighbour_accuracy{side}": share_with_error(
        float(np.mean(correct[rows])),
        clustered_error(correct[rows], clusters[rows]),
        f"connected parts of the neighbours of {count} real and {count} generated",
        int(np.sum(rows)),
      )
      for side, rows in sides.items()
    }
