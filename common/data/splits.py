"""Parses the names of splits: "train", "test", "train[:50000]", "train[50000:]", "train[-5000:]"."""

import re
from collections.abc import Mapping

from common.errors import ConfigError, nearest

_PATTERN = re.compile(r"(\w+)(?:\[(-?\d+)?:(-?\d+)?\])?")


def split_range(text: str, sizes: Mapping[str, int], field: str) -> tuple[str, int, int]:
  """Returns a split's name and the range of its examples, (name, start, stop).

  Args:
    text: the split in the config's notation.
    sizes: number of examples of each split of the source.
    field: path of the config's key, for errors.

  Raises:
    ConfigError: the text is not a split, the source lacks it, or its range is invalid or empty.
  """
  match = _PATTERN.fullmatch(text)
  if not match:
    raise ConfigError(f'{field}="{text}" is not a split: write e.g. "train", "train[:50000]" or "train[-5000:]"')
  name, low, high = match.groups()
  if name not in sizes:
    raise ConfigError(f'{field}="{text}": the set has {", ".join(sizes)}{nearest(name, sizes)}')
  size = sizes[name]
  # Unlike Python's slices, bounds beyond the end are errors, so that a split is never silently shorter.
  bounds = [default if bound is None else int(bound) for bound, default in ((low, 0), (high, size))]
  start, stop = (bound + size if bound < 0 else bound for bound in bounds)
  if not (0 <= start <= size and 0 <= stop <= size):
    raise ConfigError(
      f'{field}="{text}" is out of range: "{name}" has {size} examples; --{field}={name} is all of them'
    )
  if start >= stop:
    raise ConfigError(f'{field}="{text}" is empty: "{name}" has {size} examples; --{field}={name} is all of them')
  return name, start, stop
