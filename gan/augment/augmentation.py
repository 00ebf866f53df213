"""Augmentations of the images that the discriminator sees, by name: DiffAugment's, and ADA's under a scheduled p."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

from common import random
from common.errors import ConfigError
from common.schedules import Scheduled, build_schedule
from common.types import Array, Images
from gan.augment import geometry
from gan.augment.color import colored, recolor


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """A random map T, applied to real and to generated images alike before D, in the updates of both players.

  G learns the data's distribution, and not that of T(data), as long as T's effect on distributions can be undone
  (Karras et al. 2020, Section 2.2).

  Attributes:
    apply: (images [B, H, W, C], keys [B], int32 updates of D so far) -> images [B, H, W, C]; row i depends on key i
      only, and gradients pass to the images.
    p: updates of D -> the probability to log, a scalar; None where it does not change.
  """

  apply: Callable[[Images, Array, Array], Images]
  p: Callable[[Array], Array] | None = None


def none() -> Augmentation:
  """Leaves images as they are."""
  return Augmentation(lambda x, keys, updates: x)


def color(x: Images, keys: Array, pixel_range: tuple[float, float]) -> Images:
  """Draws brightness + U[-1/4, 1/4) of the range, saturation * U[0, 2), contrast * U[1/2, 3/2), in this order.

  Saturation is taken about each pixel's mean over channels, contrast about the image's over all. Nothing is clipped.
  """
  light, saturation, contrast = jnp.moveaxis(random.uniform(keys, (3, 1, 1, 1)), 1, 0)
  x = x + (light - 0.5) * (pixel_range[1] - pixel_range[0]) / 2
  if x.shape[-1] > 1:  # a grey pixel is its own mean
    grey = jnp.mean(x, axis=-1, keepdims=True)
    x = (x - grey) * (2.0 * saturation) + grey
  mean = jnp.mean(x, axis=(1, 2, 3), keepdims=True)
  return (x - mean) * (contrast + 0.5) + mean


def translation(x: Images, keys: Array, pixel_range: tuple[float, float]) -> Images:
  """Moves by whole pixels, uniform up to 1/8 of each side; the middle of the range comes in."""
  reach = (int(x.shape[1] / 8 + 0.5), int(x.shape[2] / 8 + 0.5))
  counts = jnp.array(reach)
  by = jnp.floor(random.uniform(keys, (2,)) * (2 * counts + 1)).astype(jnp.int32) - counts
  return geometry.shift(x, by, reach, _middle(pixel_range))


def cutout(x: Images, keys: Array, pixel_range: tuple[float, float]) -> Images:
  """Fills a rectangle of half of each side with the middle of the range; its centre is anywhere in the image."""
  u, inside = random.uniform(keys, (2,)), []
  for axis in (0, 1):
    size = x.shape[1 + axis]
    cut = int(size / 2 + 0.5)
    first = jnp.floor(u[:, axis, None] * (size + 1 - cut % 2)) - cut // 2
    pixels = jnp.arange(size)
    inside.append((first <= pixels) & (pixels < first + cut))
  return _filled(x, inside[0][:, :, None] & inside[1][:, None, :], pixel_range)


POLICIES: dict[str, Callable[[Images, Array, tuple[float, float]], Images]] = {
  "color": color,
  "translation": translation,
  "cutout": cutout,
}


def diffaugment(
  pixel_range: tuple[float, float], policy: tuple[str, ...] = ("color", "translation", "cutout")
) -> Augmentation:
  """Augments every image (Zhao et al. 2020, arXiv:2006.10738, Section 3.2 and the authors' code).

  The authors' ranges, which are for [-1, 1], are scaled to the images' range.

  Args:
    pixel_range: lowest and highest value of a pixel.
    policy: some of color, translation and cutout, in the order in which they are applied.

  Raises:
    ConfigError: a word is unknown or repeated.
  """
  wrong = [name for name in policy if name not in POLICIES]
  if wrong or len(set(policy)) != len(policy) or not policy:
    raise ConfigError(f"policy={tuple(policy)} must be some of {', '.join(POLICIES)}, each once")

  def apply(x: Images, keys: Array, updates: Array) -> Images:
    for name in policy:
      x = POLICIES[name](x, random.row_stream(keys, name), pixel_range)
    return x

  return Augmentation(apply)


def scheduled(pixel_range: tuple[float, float], p: Scheduled) -> Augmentation:
  """Runs ADA's pipeline (Karras et al. 2020, arXiv:2006.06676) under a given p, as R3GAN does (arXiv:2501.05441).

  Args:
    pixel_range: lowest and highest value of a pixel.
    p: probability of each transformation, a number or a schedule of D's updates; colours change with half of it.

  Raises:
    ConfigError: p lies outside [0, 1].
  """
  if isinstance(p, int | float) and not 0.0 <= p <= 1.0:
    raise ConfigError(f"p={p} must be in [0, 1]: it is a probability")
  schedule = build_schedule(p, "p")

  def probability(updates: Array) -> Array:
    return jnp.clip(schedule(updates), 0.0, 1.0)

  def apply(x: Images, keys: Array, updates: Array) -> Images:
    p, (_, height, width, channels) = probability(updates), x.shape
    blit = geometry.blit(random.row_stream(keys, "blit"), p, height, width)
    general = geometry.general(random.row_stream(keys, "geometric"), p, height, width)
    x = geometry.warp(x, geometry.in_order(blit, general))
    x = recolor(x, *colored(random.row_stream(keys, "color"), 0.5 * p, channels), pixel_range)
    return hide(x, random.row_stream(keys, "cutout"), p, pixel_range)

  return Augmentation(apply, probability)


def hide(x: Images, keys: Array, p: Array, pixel_range: tuple[float, float]) -> Images:
  """Fills a square of half of each side with the middle of the range, with probability p; its centre is uniform."""
  u, near = random.uniform(keys, (3,)), []
  for axis in (0, 1):
    count = x.shape[1 + axis]
    place = (jnp.arange(count) + 0.5) / count
    near.append(jnp.abs(place - u[:, axis, None]) < 0.25)
  return _filled(x, (u[:, 2] < p)[:, None, None] & near[0][:, :, None] & near[1][:, None, :], pixel_range)


def _filled(x: Images, where: Array, pixel_range: tuple[float, float]) -> Images:
  return jnp.where(where[..., None], _middle(pixel_range), x)


def _middle(pixel_range: tuple[float, float]) -> float:
  return (pixel_range[0] + pixel_range[1]) / 2


AUGMENTATIONS: dict[str, Callable[..., Augmentation]] = {
  "none": none,
  "diffaugment": diffaugment,
  "scheduled": scheduled,
}
