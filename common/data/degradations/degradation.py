"""The interface of degradations, and the parameters that each image draws for itself."""

import math

from common import random
from common.errors import ConfigError
from common.types import Array, Images

Range = float | tuple[float, float]  # a number, or (low, high): each image draws its own, uniformly
Shape = tuple[int, int, int]


class Degradation:
  """A random map of images; row i of the result depends on row i of the images and on key i only."""

  def shape(self, image_shape: Shape) -> Shape:
    """Returns the shape (height, width, channels) of what the map makes of an image.

    Raises:
      ConfigError: the map does not take such images.
    """
    return image_shape

  def __call__(self, x: Images, keys: Array) -> Images:
    """Maps float32 images [B, H, W, C] in [0, 1], keys [B] -> float32 [B, *shape]; values may leave [0, 1]."""
    raise NotImplementedError


def check_range(name: str, value: Range, low: float, high: float = math.inf) -> None:
  """Raises ConfigError unless the parameter is a number in [low, high], or two in order."""
  ends = ends_of(value)
  if not low <= ends[0] <= ends[1] <= high:
    bound = f"in [{low:g}, {high:g}]" if high < math.inf else f"{low:g} or more"
    raise ConfigError(f"{name}={value} must be {bound}; a pair (low, high), from which each image draws, is in order")


def ends_of(value: Range) -> tuple[float, float]:
  """Returns the smallest and the largest value of a parameter."""
  return (value, value) if isinstance(value, int | float) else (value[0], value[1])


def drawn(value: Range, keys: Array, name: str) -> Array:
  """Draws the parameter ``name`` for each row, keys [B] -> float32 [B]."""
  low, high = ends_of(value)
  return low + (high - low) * random.uniform(random.row_stream(keys, name), ())
