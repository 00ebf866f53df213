"""The interface of data sources, and the implementation for data that fit in RAM."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from common.errors import ConfigError

# Examples by row: "image" uint8 [N, H, W, C] from black, 0, to white, 255 (points: float32 [N, 1, 1, 2]), or a list of
# [H, W, C] if they differ in size; "label" int32 [N]; and "text", captions [N], where the set has them.
Rows = dict[str, Any]
_FORMS = {  # by kind of the source: the dtype of its examples, and how they get it
  "images": (np.uint8, "uint8 from 0, black, to 255, white: np.rint(255 * x).astype(np.uint8) if x is in [0, 1]"),
  "points": (np.float32, "float32: x.astype(np.float32)"),
}


class Source(Protocol):
  """Provides examples by split and index, at their stored size; opening a source reads headers only.

  Attributes:
    name: as in config.data.name.
    native_shape: (height, width, channels); height and width are None if the images differ in size.
    num_classes: labels are below this number, 0 without labels; `labels` tells which of them occur.
    kind: "images" or "points".
    in_memory: whether the first read loads the whole split, so that later reads are free.
    sizes: number of examples of each split.
    notes: notes for the user on how the source is read, one line each.
    class_names: the name of each label; empty if labels are numbers only.
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
  @property
  def class_names(self) -> Sequence[str]: ...

  def read(self, split: str, indices: np.ndarray) -> Rows:
    """Reads the examples ``indices`` [N] of a split, and no others if ``in_memory`` is False."""
    ...

  def labels(self, split: str) -> np.ndarray | None:
    """Returns all labels of a split, int32 [N]; None if collecting them would take too long."""
    ...

  def captions(self, split: str) -> Sequence[str] | None:
    """Returns the captions of all examples of a split, [N]; None if the set has none."""
    ...


def check_examples(source: Source, split: str, count: int, rows: Rows, size: tuple[int, int]) -> None:
  """Checks what ``source.read`` returned for ``count`` indices, without a look at the pixels.

  Images have the native height and width or those of ``size``, to which they are resized next.

  Raises:
    ConfigError: number, dtype or shape of images or labels is not as `Source` promises, or a label is out of range.
  """
  gave = f'"{source.name}" {split}: read() gave'
  if missing := {"image", "label"} - set(rows):
    raise ConfigError(f'{gave} no "{min(missing)}"; return {{"image": images, "label": labels}}')
  images, labels = rows["image"], np.asarray(rows["label"])
  if len(images) != count or labels.shape != (count,):
    raise ConfigError(
      f"{gave} {len(images)} {source.kind} and labels of shape {labels.shape} for {count} indices; "
      "return one of each for every index"
    )
  if len(rows.get("text", labels)) != count:
    raise ConfigError(f"{gave} {len(rows['text'])} captions for {count} indices; return one for every index")
  dtype, way_out = _FORMS[source.kind]
  for image in images[:1] if isinstance(images, np.ndarray) else images:
    if image.dtype != dtype:
      raise ConfigError(f"{gave} {source.kind} of {image.dtype}; return {way_out}")
    sides = zip(source.native_shape, image.shape, strict=False)
    fits = image.ndim == 3 and (image.shape[:2] == size or all(own in (None, given) for own, given in sides))
    if not fits or image.shape[2] != source.native_shape[2]:
      raise ConfigError(
        f"{gave} {source.kind} of shape {image.shape}, and native_shape is {source.native_shape}; make them equal "
        "(x[..., None] adds the channel of grey images)"
      )
  if labels.dtype.kind not in "iu":
    raise ConfigError(f"{gave} labels of {labels.dtype}; return whole numbers, as labels.astype(np.int32) does")
  limit = max(source.num_classes, 1)
  if count and not 0 <= labels.min() <= labels.max() < limit:
    wrong = labels.min() if labels.min() < 0 else labels.max()
    raise ConfigError(
      f'"{source.name}" {split}: label {wrong} is out of range 0 .. {limit - 1}; number the classes from 0, below '
      f"num_classes={source.num_classes}, or label all images 0"
    )


@dataclasses.dataclass(frozen=True)
class ArraySource:
  """A Source whose splits are arrays; ``load(split)`` reads them on first use and must cache them.

  ``white`` is the value of white in the loaded images (`white_of`).
  """

  name: str
  native_shape: tuple[int | None, int | None, int]
  num_classes: int
  sizes: Mapping[str, int]
  load: Callable[[str], Rows]
  kind: str = "images"
  in_memory: bool = True
  white: int = 255
  notes: Sequence[str] = ()
  class_names: Sequence[str] = ()

  def read(self, split: str, indices: np.ndarray) -> Rows:
    rows = {name: values[indices] for name, values in self.load(split).items()}
    return {**rows, "image": to_white_255(rows["image"], self.white, self.name)}

  def labels(self, split: str) -> np.ndarray | None:
    labels: np.ndarray = self.load(split)["label"]
    return labels

  def captions(self, split: str) -> Sequence[str] | None:
    return self.load(split).get("text")


def white_of(images: Sequence[np.ndarray] | np.ndarray) -> tuple[int, Sequence[str]]:
  """Infers the value of white from some images, and `Source.notes`: 1 if they have 0 and 1 only, else 255."""
  largest = max((int(image.max()) for image in images), default=255)
  if largest == 1:
    return 1, ("pixels are stored as 0 and 1; they are read as 0 and 255",)
  if largest < 128:
    return 255, (f"no pixel of the first images is above {largest} of 255; if white is {largest}, multiply the files",)
  return 255, ()


def white_of_all(splits: Mapping[str, Sequence[np.ndarray] | np.ndarray]) -> tuple[int, Sequence[str]]:
  """Applies `white_of` to some images of each split; the keys name the splits in the error.

  Raises:
    ConfigError: white is 1 in some splits and 255 in others.
  """
  judged = {name: white_of(images) for name, images in splits.items() if len(images)}
  binary = [name for name, (white, _) in judged.items() if white == 1]
  if binary and (others := [name for name in judged if name not in binary]):
    raise ConfigError(
      f"{', '.join(binary)} begins with pixels of 0 and 1 only, and {', '.join(others)} does not: white must be the "
      "same in all; store all as 0 to 255"
    )
  return (1 if binary else 255), tuple(dict.fromkeys(note for _, notes in judged.values() for note in notes))


def to_white_255(images: np.ndarray, white: int, name: str) -> np.ndarray:
  """Rescales images with the given value of white so that white is 255.

  Raises:
    ConfigError: a pixel is above ``white``, so `white_of` inferred it wrongly.
  """
  if white == 255:
    return images
  if images.size and images.max() > white:
    raise ConfigError(
      f'"{name}" begins with images of 0 and {white} only, and a later one has the value {images.max()}: '
      "store all as 0 to 255"
    )
  return images.astype(np.uint8) * np.uint8(255 // white)
