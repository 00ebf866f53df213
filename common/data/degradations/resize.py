"""Sizes: shrinking by bicubic interpolation as MATLAB's imresize, by averages of areas, and by single pixels."""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax

from common.data.degradations.degradation import Degradation, Shape
from common.errors import ConfigError
from common.types import Images


def cubic(x: np.ndarray) -> np.ndarray:
  """The kernel of cubic convolution with a = -1/2 (Keys 1981, Eq. 15), which is 0 from a distance of 2 on."""
  x = np.abs(x)
  near = (1.5 * x - 2.5) * x**2 + 1.0
  far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
  return np.where(x <= 1.0, near, np.where(x <= 2.0, far, 0.0))


def box(x: np.ndarray) -> np.ndarray:
  """1 over an interval as long as the distance between pixels, which has its left end only."""
  return np.where((x >= -0.5) & (x < 0.5), 1.0, 0.0)


# {method: (kernel, its width, whether it is stretched by the factor of a shrinkage, so that all pixels count)}
METHODS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int, bool]] = {
  "bicubic": (cubic, 4, True),
  "area": (box, 1, True),
  "nearest": (box, 1, False),
}


@functools.cache
def weights(before: int, after: int, method: str) -> np.ndarray:
  """Returns the matrix, float32 [after, before], that resizes a line of ``before`` pixels.

  Pixel i of the result lies at (i + 1/2) before / after - 1/2, and the line is mirrored at its ends, edges included.
  """
  kernel, width, stretched = METHODS[method]
  stretch = max(1.0, before / after) if stretched else 1.0
  centre = (np.arange(after) + 0.5) * before / after - 0.5
  first = np.floor(centre - width / 2 * stretch)
  taps = first[:, None] + np.arange(math.ceil(width * stretch) + 2)
  weight = kernel((centre[:, None] - taps) / stretch)
  around = np.mod(taps, 2 * before).astype(int)
  matrix = np.zeros((after, before))
  np.add.at(matrix, (np.arange(after)[:, None], np.minimum(around, 2 * before - 1 - around)), weight)
  return (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)


def resized(x: Images, height: int, width: int, method: str = "bicubic") -> Images:
  """Resizes images [B, H, W, C] up or down; bicubic values may leave the range by a little."""
  # In bfloat16, which an accelerator takes by default, the result would have other bytes.
  exact = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)
  x = exact("oh,bhwc->bowc", weights(x.shape[1], height, method), x)
  return exact("ow,bhwc->bhoc", weights(x.shape[2], width, method), x)


@dataclasses.dataclass(frozen=True)
class Resize(Degradation):
  """Shrinks both sides by a whole number.

  Attributes:
    scale: the number by which the sides are divided.
    method: bicubic (as MATLAB's imresize), area or nearest.
  """

  scale: int
  method: str = "bicubic"

  def __post_init__(self) -> None:
    if self.scale < 2:
      raise ConfigError(f"scale={self.scale} must be 2 or more")
    if self.method not in METHODS:
      raise ConfigError(f'method="{self.method}" is not one of {", ".join(METHODS)}')

  def shape(self, image_shape: Shape) -> Shape:
    height, width, channels = image_shape
    return (*shrunk(height, width, self.scale), channels)

  def __call__(self, x: Images, keys: object) -> Images:
    return resized(x, x.shape[1] // self.scale, x.shape[2] // self.scale, self.method)


def shrunk(height: int, width: int, scale: int) -> tuple[int, int]:
  """Returns both sides divided by ``scale``.

  Raises:
    ConfigError: a side is not a multiple.
  """
  if height % scale or width % scale:
    raise ConfigError(
      f"scale={scale} must divide both sides of the images, which have {height}x{width} pixels; take another, or "
      f"--config.data.crop={min(height, width) // scale * scale}"
    )
  return height // scale, width // scale
