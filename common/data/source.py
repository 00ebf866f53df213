"""What a place that data come from must offer, and the one class for everything that fits in RAM."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from common.errors import ConfigError

# Images uint8 [N, H, W, C] from black, 0, to white, 255 (points: float32 [N, 1, 1, 2]), or a list of [H, W, C] where
# they differ in size; labels int32 [N].
Examples = tuple[np.ndarray | list[np.ndarray], np.ndarray]


class Source(Protocol):
  """Examples by split and number, at the size they are stored in; opening one reads headers only.

  Attributes:
    name: as in config.data.name.
    native_shape: (height, width, channels); height and width are None where the images differ in size.
    num_classes: labels are below it, 0 where there are none; which of them occur, `labels` says.
    kind: "images" or "points".
    in_memory: whether a read costs the whole split once and nothing afterwards.
    sizes: number of examples of each split.
    notes: what a user should know of how it is read, one line each.
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
  @property
  def notes(self) -> Sequence[str]: ...

  def read(self, split: str, indices: np.ndarray) -> Examples:
    """The examples ``indices`` [N] of a split, and only those where ``in_memory`` is False."""
    ...

  def labels(self, split: str) -> np.ndarray | None:
    """All labels of a split, int32 [N]; None where it would take too long to collect them."""
    ...


@dataclasses.dataclass(frozen=True)
class ArraySource:
  """A Source whose splits are arrays; ``load(split)`` makes them on first use and must remember them.

  ``white`` is the value that white has in ``load``'s images (`white_of`).
  """

  name: str
  native_shape: tuple[int, int, int]
  num_classes: int
  sizes: Mapping[str, int]
  load: Callable[[str], tuple[np.ndarray, np.ndarray]]
  kind: str = "images"
  in_memory: bool = True
  white: int = 255
  notes: Sequence[str] = ()

  def read(self, split: str, indices: np.ndarray) -> Examples:
    images, labels = self.load(split)
    return to_white_255(images[indices], self.white, self.name), labels[indices]

  def labels(self, split: str) -> np.ndarray | None:
    return self.load(split)[1]


def white_of(images: Sequence[np.ndarray] | np.ndarray) -> tuple[int, Sequence[str]]:
  """The value of white, judged by some images: 1 where they have 0 and 1 only, as binarized sets do, else 255.

  With it come the source's `notes` of it.
  """
  largest = max((int(image.max()) for image in images), default=255)
  if largest == 1:
    return 1, ("pixels are stored as 0 and 1; they are read as 0 and 255",)
  if largest < 128:
    return 255, (f"no pixel of the first images is above {largest} of 255; if white is {largest}, multiply the files",)
  return 255, ()


def white_of_all(splits: Mapping[str, Sequence[np.ndarray] | np.ndarray]) -> tuple[int, Sequence[str]]:
  """`white_of` the splits of a set, each judged by some of its images; their keys name them in the error.

  Raises:
    ConfigError: it is 1 in some and 255 in others.
  """
  judged = {name: white_of(images) for name, images in splits.items() if len(images)}
  binary = [name for name, (white, _) in judged.items() if white == 1]
  if binary and (others := [name for name in judged if name not in binary]):
    raise ConfigError(
      f"{', '.join(binary)} begins with pixels of 0 and 1 only, and {', '.join(others)} does not: white must be the "
      "same in all; store all as 0 to 255"
    )
  notes = dict.fromkeys(note for _, noted in judged.values() for note in noted)
  return (1 if binary else 255), tuple(notes)


def to_white_255(images: np.ndarray, white: int, name: str) -> np.ndarray:
  """Images whose white is ``white`` as images whose white is 255.

  Raises:
    ConfigError: a pixel above ``white``, so that `white_of` was misled.
  """
  if white == 255:
    return images
  if images.size and images.max() > white:
    raise ConfigError(
      f'"{name}" begins with images of 0 and {white} only, and a later one has the value {images.max()}: '
      "store all as 0 to 255"
    )
  return images.astype(np.uint8) * np.uint8(255 // white)
