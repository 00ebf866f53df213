"""Tests whether generated images are closer to the training images than fresh real ones would be.

It follows the data-copying test of Meehan et al. 2020 (arXiv:2004.05675), over the whole space and not by cells:
distances of generated and of held-out real images to the nearest training image are compared by ranks. No third set is
needed, because each training image is held out for all the others.
``real`` must be the images that the model was trained on; no copy shows against others.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from common.evaluation.metrics.distances import nearest
from common.evaluation.metrics.feature_sets import check_pair
from common.evaluation.metrics.jackknife import SPARE, check_groups, group_ids, jackknife_error, nth_without
from common.evaluation.metrics.labels import share_with_error
from common.evaluation.metrics.score import Need, SampleSet, Score


def rank_statistic(held_out: np.ndarray, fake: np.ndarray) -> float:
  """Returns P(fake < held out) + P(equal) / 2 for distances [N] and [M].

  This is U / (N M) of Mann and Whitney: 0.5 for a perfect generator, closer to 1 the more it copies, and below 0.5 if
  its images are farther away than real ones.
  """
  ordered = np.sort(fake)
  both = np.searchsorted(ordered, held_out, side="left") + np.searchsorted(ordered, held_out, side="right")
  return float(np.mean(both) / (2.0 * len(fake)))


def near_share(held_out: np.ndarray, fake: np.ndarray, quantile: float) -> float:
  """Returns the share of generated distances [M] up to this quantile of held-out ones [N], its value if perfect."""
  return float(np.mean(fake <= np.quantile(held_out, quantile, method="inverted_cdf")))


@dataclasses.dataclass(frozen=True)
class Memorisation:
  """`rank_statistic` as "copying_rank" and `near_share` as "copied_share", of distances between features.

  A generator that copies a few images hardly changes the rank, but changes the share. All distances are to one training
  set and therefore depend on each other: the errors come from the jackknife (jackknife.py), which leaves out training
  images as neighbours too.

  Attributes:
    quantile: the quantile of the training images' distances that counts as near.
    groups: groups of the jackknife, 2 or more.
  """

  quantile: float = 0.01
  groups: int = 10
  needs: ClassVar[frozenset[Need]] = frozenset({"features"})
  better: ClassVar[dict[str, str]] = {"copying_rank": "", "copied_share": "min"}

  def __post_init__(self) -> None:
    if not 0.0 < self.quantile < 1.0:
      raise ValueError(f"quantile={self.quantile} must be above 0 and below 1")
    check_groups(self.groups)

  def least(self) -> tuple[int, int]:
    return max(int(np.ceil(1.0 / self.quantile)), 2 * self.groups), self.groups

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    train, drawn = check_pair(real, fake, self.least())
    among = min(1 + SPARE, len(train) - 1)
    found = nearest(train, train, among, exclude_self=True), nearest(drawn, train, among)
    ids = group_ids([len(train), len(drawn)], self.groups, seed)

    def distances(group: int) -> list[np.ndarray]:
      return [nth_without(each, ids[0], group)[own != group] for each, own in zip(found, ids, strict=True)]

    statistics = {"copying_rank": rank_statistic, "copied_share": lambda a, b: near_share(a, b, self.quantile)}
    whole, parts = (
      distances(self.groups),
      [distances(group) for group in range(self.groups)],
    )  # without no group, and without each
    method = f"jackknife over {self.groups} groups of each set"
    return {
      name: share_with_error(
        of(*whole), jackknife_error([of(*part) for part in parts]), method, len(drawn), self.groups - 1
      )
      for name, of in statistics.items()
    }
