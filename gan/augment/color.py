"""Affine maps of colours; any number of them cost one pass (Karras et al. 2020, App. B).

A map is a pair: a matrix [B, C, C] and an offset [B, C] for values in [-1, 1]. Its steps use one direction, that of
greys, v = 1 / sqrt(C) in each channel. With one channel brightness, contrast and inversion remain; hue is a turn about
v, which only three channels have. Each step happens to a row with probability p and is else the identity, to the bit.
"""

import jax.numpy as jnp

from common import random
from common.types import Array, Images


def colored(keys: Array, p: Array, channels: int) -> tuple[Array, Array]:
  """Draws brightness + N(0, .2^2), contrast * 2^N(0, .5^2), inversion, a turn of hue, and saturation * 2^N(0, 1)."""
  u, normal = random.uniform(random.row_stream(keys, "uniform"), (7,)), random.normal(keys, (3,))
  lightens, stretches, inverts, turns, saturates = (u[:, k] < p for k in range(5))
  identity, grey = jnp.eye(channels), jnp.full((channels, channels), 1.0 / channels)

  light = jnp.where(lightens, 0.2 * normal[:, 0], 0.0)
  factor = jnp.where(stretches, jnp.exp2(0.5 * normal[:, 1]), 1.0)
  matrices = factor[:, None, None] * identity
  offsets = jnp.broadcast_to((factor * light)[:, None], (len(keys), channels))

  inverse = jnp.where(inverts & (u[:, 5] < 0.5), 2.0, 0.0)
  steps = [identity - inverse[:, None, None] * grey]
  if channels == 3:
    steps.append(_turn(jnp.where(turns, (2.0 * u[:, 6] - 1.0) * jnp.pi, 0.0)))
  if channels > 1:
    power = jnp.where(saturates, normal[:, 2], 0.0)
    steps.append(identity + (jnp.exp2(power) - 1.0)[:, None, None] * (identity - grey))
  for step in steps:
    matrices, offsets = _times(step, matrices), _times(step, offsets[:, :, None])[:, :, 0]
  return matrices, offsets


def recolor(x: Images, matrices: Array, offsets: Array, pixel_range: tuple[float, float]) -> Images:
  """Applies the map to images [B, H, W, C] of ``pixel_range``; nothing is clipped."""
  middle, half = (pixel_range[0] + pixel_range[1]) / 2, (pixel_range[1] - pixel_range[0]) / 2
  # middle + half * (M (x - middle) / half + b), in the order that leaves x to the bit under the identity.
  rest = middle - jnp.sum(matrices * middle, axis=-1) + half * offsets
  return jnp.sum(matrices[:, None, None] * x[..., None, :], axis=-1) + rest[:, None, None, :]


def _turn(angle: Array) -> Array:
  """Returns the rotation about (1, 1, 1) / sqrt(3) by an angle [B] (Rodrigues)."""
  identity, grey = jnp.eye(3), jnp.full((3, 3), 1.0 / 3.0)
  across = jnp.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / jnp.sqrt(3.0)
  cos, sin = jnp.cos(angle)[:, None, None], jnp.sin(angle)[:, None, None]
  return cos * identity + (1.0 - cos) * grey + sin * across


def _times(a: Array, b: Array) -> Array:
  # As in geometry.in_order, not the matrix unit.
  return jnp.sum(a[:, :, :, None] * b[:, None, :, :], axis=2)
