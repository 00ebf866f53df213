"""Movements of images: affine maps, any number of which cost one resampling, and shifts by whole pixels.

An affine map is kept as its inverse, [B, 3, 3] in homogeneous (x, y, 1): from a place in the new image to the place in
the old one that its value comes from, both in pixels from the image's centre. The elementary maps take draws of
U[0, 1) or of N(0, 1) as arguments, and are the identity to the bit in the rows where ``whether``, bool [B], is False.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from common import random
from common.types import Array, Images


def mirrored(whether: Array, u: Array) -> Array:
  """Flips half of the images along x."""
  return _scaled(jnp.where(whether & (u < 0.5), -1.0, 1.0), jnp.ones(len(u)))


def quarter_turned(whether: Array, u: Array) -> Array:
  """Turns by 0, 90, 180 or 270 degrees, uniform over the four."""
  turns = jnp.where(whether, jnp.floor(4.0 * u).astype(jnp.int32), 0)
  # Tables and not cos: pixels move to pixels, exactly.
  return _turned(jnp.array([1.0, 0.0, -1.0, 0.0])[turns], jnp.array([0.0, 1.0, 0.0, -1.0])[turns])


def moved_by_pixels(whether: Array, u: Array, height: int, width: int) -> Array:
  """Moves by whole pixels, up to 1/8 of each side; ``u`` is [B, 2]."""
  pixels = jnp.round((2.0 * u - 1.0) * 0.125 * jnp.array([width, height]))
  return _moved(jnp.where(whether[:, None], pixels, 0.0))


def scaled(whether: Array, normal: Array) -> Array:
  """Scales both sides by 2^N(0, 0.2^2)."""
  factor = jnp.where(whether, jnp.exp2(0.2 * normal), 1.0)
  return _scaled(1.0 / factor, 1.0 / factor)


def stretched(whether: Array, normal: Array) -> Array:
  """Scales x by s = 2^N(0, 0.2^2), y by 1 / s."""
  factor = jnp.where(whether, jnp.exp2(0.2 * normal), 1.0)
  return _scaled(1.0 / factor, factor)


def turned(whether: Array, u: Array) -> Array:
  """Turns by an angle of U[-180, 180) degrees."""
  angle = jnp.where(whether, (2.0 * u - 1.0) * jnp.pi, 0.0)
  return _turned(jnp.cos(angle), jnp.sin(angle))


def moved(whether: Array, normal: Array, height: int, width: int) -> Array:
  """Moves by N(0, 0.125^2) of each side; ``normal`` is [B, 2]."""
  pixels = 0.125 * normal * jnp.array([width, height])
  return _moved(jnp.where(whether[:, None], pixels, 0.0))


def blit(keys: Array, p: Array, height: int, width: int) -> Array:
  """Draws a flip, a quarter turn and a whole-pixel shift, each with probability p: no pixel changes its value."""
  u = random.uniform(keys, (7,))
  flip, turn, shift = (u[:, k] < p for k in range(3))
  return in_order(
    mirrored(flip, u[:, 3]), quarter_turned(turn, u[:, 4]), moved_by_pixels(shift, u[:, 5:7], height, width)
  )


def general(keys: Array, p: Array, height: int, width: int) -> Array:
  """Draws scale, turn, stretch, turn and shift, each with probability p, the turns together (Karras et al., App. B)."""
  either = 1.0 - jnp.sqrt(1.0 - jnp.clip(p, 0.0, 1.0))
  u, normal = random.uniform(random.row_stream(keys, "uniform"), (7,)), random.normal(keys, (4,))
  scale, stretch, shift = (u[:, k] < p for k in range(3))
  return in_order(
    scaled(scale, normal[:, 0]),
    turned(u[:, 3] < either, u[:, 4]),
    stretched(stretch, normal[:, 1]),
    turned(u[:, 5] < either, u[:, 6]),
    moved(shift, normal[:, 2:4], height, width),
  )


def in_order(*maps: Array) -> Array:
  """Returns the map that applies ``maps``, [B, 3, 3] each, one after the other."""
  # A product of matrices may run in bfloat16 on an accelerator, and pixels would drift.
  return functools.reduce(lambda first, second: jnp.sum(first[:, :, :, None] * second[:, None, :, :], axis=2), maps)


def warp(x: Images, inverse: Array) -> Images:
  """Resamples images [B, H, W, C] by an affine map [B, 3, 3], reflected at the outer pixels as often as need be.

  Cubic convolution over 4x4 pixels (Keys 1981, a = -1/2), which leaves an image alone where the map takes pixels to
  pixels. Nothing is filtered where the map shrinks: the authors' code does that with wavelets at twice the size.
  """
  _, height, width, channels = x.shape
  xs, ys = (jnp.arange(size) - (size - 1) / 2 for size in (width, height))
  place = inverse[:, :, 0, None, None] * xs + inverse[:, :, 1, None, None] * ys[:, None] + inverse[:, :, 2, None, None]
  columns, column_weights = _taps(place[:, 0], width)
  lines, line_weights = (jnp.moveaxis(tap, 1, 0) for tap in _taps(place[:, 1], height))
  flat = x.reshape(len(x), height * width, channels)
  pick = jax.vmap(lambda image, index: image[index])
  total = jnp.zeros_like(x)
  for line, line_weight in zip(lines, line_weights, strict=True):
    weights = line_weight[:, None] * column_weights
    total += jnp.sum(weights[..., None] * pick(flat, line[:, None] * width + columns), axis=1)
  return total


def shift(x: Images, by: Array, reach: tuple[int, int], fill: float) -> Images:
  """Moves images [B, H, W, C] by whole pixels, int32 [B, 2] of (y, x), each within +-reach; ``fill`` comes in."""
  margin = ((0, 0), (reach[0], reach[0]), (reach[1], reach[1]), (0, 0))
  padded = jnp.pad(x, margin, constant_values=fill)
  size = x.shape[1:]
  cut = jax.vmap(lambda image, y, x: lax.dynamic_slice(image, (y, x, 0), size))
  return cut(padded, reach[0] - by[:, 0], reach[1] - by[:, 1])


def _taps(place: Array, size: int) -> tuple[Array, Array]:
  """Returns the four pixels about each place [B, H, W], int32, and their weights, [B, 4, H, W] each."""
  position = place + (size - 1) / 2
  below = jnp.floor(position)
  f = position - below
  weights = [
    ((-0.5 * f + 1.0) * f - 0.5) * f,
    (1.5 * f - 2.5) * f * f + 1.0,
    ((-1.5 * f + 2.0) * f + 0.5) * f,
    (0.5 * f - 0.5) * f * f,
  ]
  period = 2 * (size - 1)
  around = jnp.mod(below.astype(jnp.int32)[:, None] + jnp.arange(-1, 3)[:, None, None], period)
  return jnp.minimum(around, period - around), jnp.stack(weights, axis=1)


def _matrix(entries: list[list[Array | float]], rows: int) -> Array:
  return jnp.stack([jnp.stack([jnp.broadcast_to(e, (rows,)) for e in line], axis=-1) for line in entries], axis=-2)


def _scaled(x: Array, y: Array) -> Array:
  return _matrix([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, 1.0]], len(x))


def _turned(cos: Array, sin: Array) -> Array:
  return _matrix([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]], len(cos))


def _moved(by: Array) -> Array:
  return _matrix([[1.0, 0.0, -by[:, 0]], [0.0, 1.0, -by[:, 1]], [0.0, 0.0, 1.0]], len(by))
