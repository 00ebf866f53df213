"""Images of different sizes in arrays of one shape, so that each image of a batch can be resized by its own factor.

An image lies in the upper left of its canvas; what lies beyond is unspecified. Sizes are int32 [B, 2] of (height,
width). Resizing follows torch.nn.functional.interpolate without antialiasing, which Real-ESRGAN's chain is made of.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common.types import Array, Images


def _bilinear(i: Array, ratio: Array, before: Array, columns: Array) -> Array:
  place = jnp.clip((i + 0.5) * ratio - 0.5, 0.0, before - 1.0)
  return jnp.maximum(1.0 - jnp.abs(place - columns), 0.0)


def _bicubic(i: Array, ratio: Array, before: Array, columns: Array) -> Array:
  place = (i + 0.5) * ratio - 0.5
  first, total = jnp.floor(place), jnp.zeros(jnp.broadcast_shapes(i.shape, columns.shape))
  for tap in range(-1, 3):  # cubic convolution with a = -3/4; beyond the edge its value goes on
    distance = jnp.abs(place - first - tap)
    near = (1.25 * distance - 2.25) * distance**2 + 1.0
    far = -0.75 * (((distance - 5.0) * distance + 8.0) * distance - 4.0)
    weight = jnp.where(distance <= 1.0, near, far)
    total += jnp.where(jnp.clip(first + tap, 0.0, before - 1.0) == columns, weight, 0.0)
  return total


def _area(i: Array, before: Array, after: Array, columns: Array) -> Array:
  # Whole numbers: in floats, a border between two pixels could fall on either side.
  first, end = i * before // after, -(-(i + 1) * before // after)
  return ((first <= columns) & (columns < end)) / (end - first)


def line_weights(before: Array, after: Array, ratio: Array, mode: Array, shape: tuple[int, int]) -> Array:
  """Returns a matrix [canvas after, canvas before] that resizes a line from ``before`` to ``after`` pixels.

  Args:
    before: pixels of the line, a scalar.
    after: pixels of the result; what follows repeats the last one.
    ratio: the distance of neighbours of the result in pixels of the line, of which an area's average takes no notice.
    mode: 0 for the average of an area, 1 for bilinear, 2 for bicubic interpolation.
    shape: (canvas after, canvas before).
  """
  i = jnp.minimum(np.arange(shape[0]), after - 1)[:, None]
  columns = jnp.arange(shape[1])[None]
  options: list[Callable[[], Array]] = [
    lambda: _area(i, before, after, columns),
    lambda: _bilinear(i, ratio, before, columns),
    lambda: _bicubic(i, ratio, before, columns),
  ]
  return jnp.select([mode == k for k in range(3)], [option() for option in options])


def resized(x: Images, before: Array, after: Array, ratio: Array, mode: Array, height: int, width: int) -> Images:
  """Resizes canvases [B, H, W, C] -> [B, height, width, C]; sizes [B, 2], ratio [B], mode [B] as `line_weights`."""

  def one(x: Array, before: Array, after: Array, ratio: Array, mode: Array) -> Array:
    lines = line_weights(before[0], after[0], ratio[0], mode, (height, x.shape[0]))
    columns = line_weights(before[1], after[1], ratio[1], mode, (width, x.shape[1]))
    return jnp.einsum("oh,pw,hwc->opc", lines, columns, x, precision=lax.Precision.HIGHEST)

  return jax.vmap(one)(x, before, after, ratio, mode)


def continued(x: Images, sizes: Array, margin: int, mode: str) -> Images:
  """Continues the images beyond their edges, [B, H, W, C] -> [B, H + 2 margin, W + 2 margin, C].

  Args:
    x: canvases.
    sizes: of the images on them.
    margin: pixels that are added on each side of the canvas.
    mode: "edge", which repeats the last pixel, or "reflect", which mirrors at it.
  """

  def index(size: Array, count: int) -> Array:
    place = np.arange(-margin, count + margin)
    if mode == "edge":
      return jnp.clip(place, 0, size - 1)
    period = jnp.maximum(2 * (size - 1), 1)
    around = place % period
    return jnp.minimum(around, period - around) % size

  def one(x: Array, size: Array) -> Array:
    return x[index(size[0], x.shape[0])][:, index(size[1], x.shape[1])]

  return jax.vmap(one)(x, sizes)
