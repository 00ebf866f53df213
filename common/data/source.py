"""What a place that data come from must offer, and the one class for everything that fits in RAM."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

# Images uint8 [N, H, W, C] (points: float32 [N, 1, 1, 2]), or a list of [H, W, C] where they differ in size; labels
# int32 [N].
Examples = tuple[np.ndarray | list[np.ndarray], np.ndarray]


class Source(Protocol):
  """Examples by split and number, at the size they are stored in; opening one reads headers only.

  Attributes:
    name: as in config.data.name.
    native_shape: (height, width, channels); height and width are None where the images differ in size.
    num_classes: number of labels, 0 where there are none.
    kind: "images" or "points".
    in_memory: whether a read costs the whole split once and nothing afterwards.
    sizes: number of examples of each split.
  """

  @property
  def name(self) -> str: ...
  @property
  def native_shape(self) -> tuple[int | None, int | None, int]: ...
  @property
  def num_classes(self) -> int: ...
  @property
  def kind(self) -> str: ...
  @property
  def in_memory(self) -> bool: ...
  @property
  def sizes(self) -> Mapping[str, int]: ...

  def read(self, split: str, indices: np.ndarray) -> Examples:
    """The examples ``indices`` [N] of a split, and only those where ``in_memory`` is False."""
    ...


@dataclasses.dataclass(frozen=True)
class ArraySource:
  """A Source whose splits are arrays; ``load(split)`` makes them on first use and must remember them."""

  name: str
  native_shape: tuple[int, int, int]
  num_classes: int
  sizes: Mapping[str, int]
  load: Callable[[str], tuple[np.ndarray, np.ndarray]]
  kind: str = "images"
  in_memory: bool = True

  def read(self, split: str, indices: np.ndarray) -> Examples:
    images, labels = self.load(split)
    return images[indices], labels[indices]
