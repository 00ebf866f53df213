"""The error of a score of two sets of images, from leaving out a group of each (delete-a-group jackknife, Kott 2001).

The sets are taken as drawn independently, and each is cut by its own permutation. A shared permutation of two sets in
the same order, such as by class, would put similar images of both into a group, and the variation between classes would
cancel. For pairs, such as images and their reconstructions, the error is on the large side.
"""

from collections.abc import Sequence

import numpy as np

SPARE = 5  # additional neighbours to search for, so that enough remain without a tenth of the points


def check_groups(groups: int) -> None:
  """Raises ValueError unless there are enough groups for a jackknife."""
  if groups < 2:
    raise ValueError(f"groups={groups}: a jackknife needs 2 or more")


def group_ids(counts: Sequence[int], groups: int, seed: int | Sequence[int]) -> list[np.ndarray]:
  """Returns the group of each image, [N] for a set of N; the sizes of a set's groups differ by at most one."""
  rng = np.random.Generator(np.random.Philox(seed))
  return [rng.permutation(count) % groups for count in counts]


def jackknife_error(without: Sequence[float] | np.ndarray) -> float:
  """Returns the standard error of a score with the given values without each group; its freedom is groups - 1."""
  return float(np.sqrt((len(without) - 1) * np.var(without)))


def nth_without(found: tuple[np.ndarray, np.ndarray], ids: np.ndarray, group: int, nth: int = 1) -> np.ndarray:
  """Returns the distance to the nth nearest point after leaving out a group of the points, [N].

  Args:
    found: more than nth neighbours, from `distances.nearest`; if too few remain, the last one counts.
    ids: the group of each point, [M].
    group: the group that is left out.
    nth: 1 or more.
  """
  distances, indices = found
  reached = np.cumsum(ids[indices] != group, axis=1) >= nth
  place = np.where(reached[:, -1], np.argmax(reached, axis=1), distances.shape[1] - 1)
  return np.take_along_axis(distances, place[:, None], axis=1)[:, 0]
