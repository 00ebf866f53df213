"""What is left of an image with a hole: its values, 0 in the hole, and one channel more, which is 1 in the hole."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from common import random
from common.data.degradations.degradation import Degradation, Range, Shape, check_range, drawn, ends_of
from common.errors import ConfigError
from common.types import Array, Images


class Mask(Degradation):
  """A degradation that cuts a hole."""

  def shape(self, image_shape: Shape) -> Shape:
    height, width, channels = image_shape
    return height, width, channels + 1

  def hole(self, keys: Array, height: int, width: int) -> Array:
    """Draws the holes, keys [B] -> bool [B, height, width, 1]."""
    raise NotImplementedError

  def __call__(self, x: Images, keys: Array) -> Images:
    hole = self.hole(keys, *x.shape[1:3])
    return jnp.concatenate([jnp.where(hole, 0.0, x), hole.astype(jnp.float32)], axis=-1)


@dataclasses.dataclass(frozen=True)
class Box(Mask):
  """Cuts a rectangle.

  Attributes:
    height: lines in the hole.
    width: columns in the hole.
    place: centre, or random, where each image has its own place.
  """

  height: int
  width: int
  place: str = "centre"

  def __post_init__(self) -> None:
    if self.place not in ("centre", "random"):
      raise ConfigError(f'place="{self.place}" is not one of centre, random')

  def shape(self, image_shape: Shape) -> Shape:
    height, width, _ = image_shape
    if not (0 < self.height <= height and 0 < self.width <= width):
      raise ConfigError(f"a box of {self.height}x{self.width} does not fit in images of {height}x{width}")
    return super().shape(image_shape)

  def hole(self, keys: Array, height: int, width: int) -> Array:
    u = random.uniform(keys, (2,)) if self.place == "random" else jnp.full((len(keys), 2), 0.5)
    inside = []
    for axis, (size, cut) in enumerate(((height, self.height), (width, self.width))):
      first = jnp.floor(u[:, axis, None] * (size - cut + 1) - (0.5 if self.place == "centre" else 0.0))
      inside.append((jnp.arange(size) >= first) & (jnp.arange(size) < first + cut))
    return (inside[0][:, :, None] & inside[1][:, None, :])[..., None]


@dataclasses.dataclass(frozen=True)
class Strokes(Mask):
  """Cuts strokes of a brush that runs along straight pieces, each of which turns by up to 90 degrees.

  Attributes:
    count: strokes in an image.
    pieces: straight pieces of a stroke.
    length: length of a piece as a part of the image's longer side.
    width: the brush's width as a part of the longer side.
  """

  count: int = 3
  pieces: int = 4
  length: Range = (0.1, 0.4)
  width: Range = (0.05, 0.15)

  def __post_init__(self) -> None:
    if not (self.count > 0 and self.pieces > 0):
      raise ConfigError(f"count={self.count} and pieces={self.pieces} must be 1 or more")
    check_range("length", self.length, 0.0, 2.0)
    check_range("width", self.width, 0.0, 1.0)

  def hole(self, keys: Array, height: int, width: int) -> Array:
    side, shape = max(height, width), (self.count, self.pieces)
    turns = random.uniform(random.row_stream(keys, "turns"), shape, -np.pi / 2, np.pi / 2)
    first = random.uniform(random.row_stream(keys, "first"), (self.count, 1), 0.0, 2 * np.pi)
    angles = jnp.cumsum(turns, axis=2) + first
    length = side * _each(self.length, random.row_stream(keys, "length"), shape)
    radius = side / 2 * _each(self.width, random.row_stream(keys, "width"), (self.count, 1))
    direction = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    steps = length[..., None] * direction
    begin = random.uniform(random.row_stream(keys, "begin"), (self.count, 1, 2)) * np.array([width, height], np.float32)
    starts = begin + jnp.cumsum(steps, axis=2) - steps
    place = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32) + 0.5
    # [B, count, pieces, height, width, 2]: from the piece's start to each pixel.
    away = place - starts[:, :, :, None, None]
    direction, length = direction[:, :, :, None, None], length[..., None, None]
    along = jnp.clip(jnp.sum(away * direction, axis=-1), 0.0, length)
    distance = jnp.sqrt(jnp.sum((away - along[..., None] * direction) ** 2, axis=-1))
    return jnp.any(distance <= radius[..., None, None], axis=(1, 2))[..., None]


def _each(value: Range, keys: Array, shape: tuple[int, ...]) -> Array:
  low, high = ends_of(value)
  return low + (high - low) * random.uniform(keys, shape)


@dataclasses.dataclass(frozen=True)
class Pixels(Mask):
  """Cuts single pixels.

  Attributes:
    share: probability that a pixel is missing.
  """

  share: Range = 0.5

  def __post_init__(self) -> None:
    check_range("share", self.share, 0.0, 1.0)

  def hole(self, keys: Array, height: int, width: int) -> Array:
    share = drawn(self.share, keys, "share")[:, None, None, None]
    return random.uniform(keys, (height, width, 1)) >= 1.0 - share
