"""Whether generated pictures lie nearer to the training pictures than fresh real ones would.

After the data-copying test of Meehan et al. 2020 (arXiv:2004.05675), over the whole space and not by cells: distances
to the nearest training picture, of generated against held-out real pictures, compared by ranks. No third set is needed:
each training picture is held out for all the others, and so all are held out, and all can be copied.
``real`` must be the pictures that the model was trained on; against others, no copy shows.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from common.metrics.distances import nearest
from common.metrics.feature_sets import check_pair
from common.metrics.score import Need, SampleSet, Score


def nearest_distances(train: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Distances to the nearest training point: of training points to another one [N], of generated ones [M].

  Args:
    train: [N, D] with N of 2 or more.
    fake: [M, D].
  """
  return nearest(train, train, 1, exclude_self=True)[0][:, 0], nearest(fake, train, 1)[0][:, 0]


def rank_statistic(held_out: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
  """P(fake < held out) + P(equal) / 2 of distances [N] and [M], and its standard error.

  U / (N M) of Mann and Whitney: 0.5 for a perfect generator, towards 1 the more it copies, below 0.5 where its pictures
  are farther off than real ones. The error is of the mean ranks on either side (DeLong et al. 1988), which holds away
  from 0.5 too.
  """
  above = _share_below(np.sort(-held_out), -fake)  # of each generated one, the share of the held out that is farther
  below = _share_below(np.sort(fake), held_out)  # of each held-out one, the share of the generated that is nearer
  error = np.sqrt(np.var(above, ddof=1) / len(fake) + np.var(below, ddof=1) / len(held_out))
  return float(np.mean(above)), float(error)


def near_share(held_out: np.ndarray, fake: np.ndarray, quantile: float) -> float:
  """The share of generated distances [M] up to this quantile of the held-out [N]; a perfect generator has as much."""
  return float(np.mean(fake <= np.quantile(held_out, quantile, method="inverted_cdf")))


@dataclasses.dataclass(frozen=True)
class Memorisation:
  """`rank_statistic` as "copying_rank" and `near_share` as "copied_share", of distances between features.

  A generator that copies few of its pictures hardly moves the rank, and does move the share. The errors take distances
  as independent, though all are to one training set.

  Attributes:
    quantile: which of the training pictures' distances counts as near.
    resamples: of the bootstrap (with replacement, of the distances) that gives the share's error.
  """

  quantile: float = 0.01
  resamples: int = 200
  needs: ClassVar[frozenset[Need]] = frozenset({"features"})
  better: ClassVar[dict[str, str]] = {"copying_rank": "", "copied_share": "min"}

  def __post_init__(self) -> None:
    if not 0.0 < self.quantile < 1.0:
      raise ValueError(f"quantile={self.quantile} must be above 0 and below 1")
    if self.resamples < 2:
      raise ValueError(f"resamples={self.resamples} must be 2 or more")

  def least(self) -> tuple[int, int]:
    return int(np.ceil(1.0 / self.quantile)), 2

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    train, drawn = check_pair(real, fake, self.least())
    held_out, distances = nearest_distances(train, drawn)
    rng = np.random.Generator(np.random.Philox(seed))
    resampled = [
      near_share(rng.choice(held_out, len(held_out)), rng.choice(distances, len(distances)), self.quantile)
      for _ in range(self.resamples)
    ]
    share = near_share(held_out, distances, self.quantile)
    return {
      "copying_rank": Score(*rank_statistic(held_out, distances), "mean ranks of both sets"),
      "copied_share": Score(share, float(np.std(resampled, ddof=1)), f"{self.resamples} bootstrap resamples"),
    }


def _share_below(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
  """For each value, the share of ``ordered`` below it and half the share equal to it."""
  both = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
  return both / (2.0 * len(ordered))
