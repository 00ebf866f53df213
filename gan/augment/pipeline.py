"""The transformations of ADA in one sequence, under a probability that is adapted or scheduled."""

from typing import Any

import jax.numpy as jnp

from common import random
from common.errors import ConfigError
from common.parallel import batch_gather
from common.schedules import Scheduled, build_schedule
from common.types import Array, Images
from gan.augment import geometry
from gan.augment.color import colored, recolor
from gan.augment.policy import Augmentation


def ada(
  pixel_range: tuple[float, float],
  target: float = 0.6,
  interval: int = 4,
  speed_images: int = 500000,
  start: float = 0.0,
  blit: float = 1.0,
  geometric: float = 1.0,
  color: float = 1.0,
  cutout: float = 0.0,
) -> Augmentation:
  """Karras et al. 2020, arXiv:2006.06676: the pipeline, under a p that follows how far D overfits.

  r_t = E[sign(D(x))] over real images is 0 where D cannot tell them and 1 where it knows each. Every few updates p goes
  up or down by a fixed amount, as r_t lies above or below its target (Section 3.1).

  Args:
    pixel_range: of the images.
    target: of r_t.
    interval: updates of D over which r_t is taken and after which p moves.
    speed_images: real images that D sees while p goes from 0 to 1.
    start: p at the beginning.
    blit: p's factor for flips, quarter turns and whole-pixel shifts; 0 for none of them.
    geometric: p's factor for scales, turns, stretches and shifts.
    color: p's factor for brightness, contrast, inversion, hue and saturation.
    cutout: p's factor for a hidden square.

  Raises:
    ConfigError: a number outside its range.
  """
  if not -1.0 < target < 1.0:
    raise ConfigError(f"target={target} must be above -1 and below 1: it is a mean of signs")
  if interval < 1 or speed_images < 1:
    raise ConfigError(f"interval={interval} and speed_images={speed_images} must be 1 or more")
  if not 0.0 <= start <= 1.0:
    raise ConfigError(f"start={start} must be in [0, 1]: it is a probability")

  def init() -> Any:
    return {"p": jnp.float32(start), "sign": jnp.zeros(())}

  def adapt(aux: Any, real_logits: Array, updates: Array, axis_name: str | None) -> Any:
    signs = batch_gather(jnp.sign(real_logits), axis_name)
    total = aux["sign"] + jnp.mean(signs)
    due = (updates + 1) % interval == 0
    stride = len(signs) * interval / speed_images
    p = jnp.clip(aux["p"] + stride * jnp.sign(total / interval - target), 0.0, 1.0)
    return {"p": jnp.where(due, p, aux["p"]), "sign": jnp.where(due, 0.0, total)}

  return Augmentation(
    _pipeline(pixel_range, blit, geometric, color, cutout),
    init=init,
    probability=lambda aux, updates: aux["p"],
    adapt=adapt,
    reports=True,
  )


def scheduled(
  pixel_range: tuple[float, float],
  p: Scheduled,
  blit: float = 1.0,
  geometric: float = 1.0,
  color: float = 0.5,
  cutout: float = 1.0,
) -> Augmentation:
  """ADA's pipeline under a p that is given, as R3GAN has it (Huang et al. 2024, arXiv:2501.05441, and their code).

  Args:
    pixel_range: of the images.
    p: a number, or a schedule of D's updates.
    blit: p's factor for flips, quarter turns and whole-pixel shifts; 0 for none of them.
    geometric: p's factor for scales, turns, stretches and shifts.
    color: p's factor for brightness, contrast, inversion, hue and saturation.
    cutout: p's factor for a hidden square.

  Raises:
    ConfigError: a number outside its range.
  """
  if isinstance(p, int | float) and not 0.0 <= p <= 1.0:
    raise ConfigError(f"p={p} must be in [0, 1]: it is a probability")
  schedule = build_schedule(p, "p")
  return Augmentation(
    _pipeline(pixel_range, blit, geometric, color, cutout),
    probability=lambda aux, updates: jnp.clip(schedule(updates), 0.0, 1.0),
    reports=True,
  )


def _pipeline(pixel_range: tuple[float, float], blit: float, geometric: float, color: float, cutout: float) -> Any:
  for name, factor in (("blit", blit), ("geometric", geometric), ("color", color), ("cutout", cutout)):
    if not 0.0 <= factor <= 1.0:
      raise ConfigError(f"{name}={factor} must be in [0, 1]: it multiplies a probability")

  def apply(x: Images, rows: Array, p: Array) -> Images:
    _, height, width, channels = x.shape
    maps = []
    if blit:
      maps.append(geometry.blit(random.row_stream(rows, "blit"), blit * p, height, width))
    if geometric:
      maps.append(geometry.general(random.row_stream(rows, "geometric"), geometric * p, height, width))
    if maps:
      x = geometry.warp(x, maps[0] if len(maps) == 1 else geometry.compose(*maps))
    if color:
      x = recolor(x, *colored(random.row_stream(rows, "color"), color * p, channels), pixel_range)
    return hide(x, random.row_stream(rows, "cutout"), cutout * p, pixel_range) if cutout else x

  return apply


def hide(x: Images, rows: Array, p: Array, pixel_range: tuple[float, float], size: float = 0.5) -> Images:
  """With probability p the middle of the range in a square of ``size`` of each side, its centre uniform."""
  u = random.uniform(rows, (3,))
  near = []
  for axis in (0, 1):
    count = x.shape[1 + axis]
    place = (jnp.arange(count) + 0.5) / count
    near.append(jnp.abs(place - u[:, axis, None]) < size / 2)
  hidden = (u[:, 2] < p)[:, None, None] & near[0][:, :, None] & near[1][:, None, :]
  return jnp.where(hidden[..., None], (pixel_range[0] + pixel_range[1]) / 2, x)
