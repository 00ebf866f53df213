"""The error of a figure of two sets of pictures by leaving out a group of each (delete-a-group jackknife, Kott 2001).

The sets count as drawn independently. Each is cut by a permutation of its own: were it one for both, then of two sets
that lie in one order, as by class, a group would take alike pictures from both, and what varies between the classes
would cancel. Of pairs, such as pictures and their reconstructions, the error is on the large side.
"""

from collections.abc import Sequence

import numpy as np

SPARE = 5  # neighbours that are looked for beyond those that count, so that enough are left of a tenth fewer points


def group_ids(counts: Sequence[int], groups: int, seed: int | Sequence[int]) -> list[np.ndarray]:
  """The group of each picture of sets of so many, [N] each; sizes within a set differ by one at most."""
  rng = np.random.Generator(np.random.Philox(seed))
  return [rng.permutation(count) % groups for count in counts]


def jackknife_error(without: Sequence[float] | np.ndarray) -> float:
  """The standard error of a figure that has these values without one group each, with groups - 1 degrees of freedom."""
  return float(np.sqrt((len(without) - 1) * np.var(without)))


def nth_without(found: tuple[np.ndarray, np.ndarray], ids: np.ndarray, group: int, nth: int = 1) -> np.ndarray:
  """The distance to the nth nearest point once a group of the points is left out, [N].

  Args:
    found: the neighbours by `distances.nearest`, some more than nth; where too few are left, the last counts.
    ids: the group of each point, [M].
    group: which one.
    nth: 1 or more.
  """
  distances, indices = found
  reached = np.cumsum(ids[indices] != group, axis=1) >= nth
  place = np.where(reached[:, -1], np.argmax(reached, axis=1), distances.shape[1] - 1)
  return np.take_along_axis(distances, place[:, None], axis=1)[:, 0]
