"""The transformations of ADA (Karras et al. 2020, arXiv:2006.06676) in one sequence, under a scheduled probability."""

from collections.abc import Callable

import jax.numpy as jnp

from common import random
from common.errors import ConfigError
from common.schedules import Scheduled, build_schedule
from common.types import Array, Images
from gan.augment import geometry
from gan.augment.color import colored, recolor
from gan.augment.policy import Augmentation


def scheduled(
  pixel_range: tuple[float, float],
  p: Scheduled,
  blit: float = 1.0,
  geometric: float = 1.0,
  color: float = 0.5,
  cutout: float = 1.0,
) -> Augmentation:
  """Runs ADA's pipeline under a given p, as R3GAN does (Huang et al. 2024, arXiv:2501.05441, and their code).

  Args:
    pixel_range: of the images.
    p: probability of each transformation, a number or a schedule of D's updates.
    blit: p's factor for flips, quarter turns and whole-pixel shifts; 0 for none of them.
    geometric: p's factor for scales, turns, stretches and shifts.
    color: p's factor for brightness, contrast, inversion, hue and saturation.
    cutout: p's factor for a hidden square.

  Raises:
    ConfigError: a number outside its range.
  """
  if isinstance(p, int | float) and not 0.0 <= p <= 1.0:
    raise ConfigError(f"p={p} must be in [0, 1]: it is a probability")
  for name, factor in (("blit", blit), ("geometric", geometric), ("color", color), ("cutout", cutout)):
    if not 0.0 <= factor <= 1.0:
      raise ConfigError(f"{name}={factor} must be in [0, 1]: it multiplies a probability")
  schedule, transform = build_schedule(p, "p"), pipeline(pixel_range, blit, geometric, color, cutout)

  def probability(updates: Array) -> Array:
    return jnp.clip(schedule(updates), 0.0, 1.0)

  return Augmentation(lambda x, keys, updates: transform(x, keys, probability(updates)), probability)


def pipeline(
  pixel_range: tuple[float, float], blit: float, geometric: float, color: float, cutout: float
) -> Callable[[Images, Array, Array], Images]:
  """The transformations under a probability: (images [B, H, W, C], keys [B], p) -> images; see `scheduled`."""

  def apply(x: Images, keys: Array, p: Array) -> Images:
    _, height, width, channels = x.shape
    maps = []
    if blit:
      maps.append(geometry.blit(random.row_stream(keys, "blit"), blit * p, height, width))
    if geometric:
      maps.append(geometry.general(random.row_stream(keys, "geometric"), geometric * p, height, width))
    if maps:
      x = geometry.warp(x, maps[0] if len(maps) == 1 else geometry.compose(*maps))
    if color:
      x = recolor(x, *colored(random.row_stream(keys, "color"), color * p, channels), pixel_range)
    return hide(x, random.row_stream(keys, "cutout"), cutout * p, pixel_range) if cutout else x

  return apply


def hide(x: Images, keys: Array, p: Array, pixel_range: tuple[float, float], size: float = 0.5) -> Images:
  """Fills a square of ``size`` of each side with the middle of the range, with probability p; its centre is uniform."""
  u = random.uniform(keys, (3,))
  near = []
  for axis in (0, 1):
    count = x.shape[1 + axis]
    place = (jnp.arange(count) + 0.5) / count
    near.append(jnp.abs(place - u[:, axis, None]) < size / 2)
  hidden = (u[:, 2] < p)[:, None, None] & near[0][:, :, None] & near[1][:, None, :]
  return jnp.where(hidden[..., None], (pixel_range[0] + pixel_range[1]) / 2, x)
