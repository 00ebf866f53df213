"""DiffAugment (Zhao et al. 2020, arXiv:2006.10738, Section 3.2 and the authors' code)."""

from collections.abc import Callable

import jax.numpy as jnp

from common import random
from common.errors import ConfigError
from common.types import Array, Images
from gan.augment.geometry import shift
from gan.augment.policy import Augmentation


def color(x: Images, keys: Array, pixel_range: tuple[float, float]) -> Images:
  """Brightness + U[-1/4, 1/4) of the range, saturation * U[0, 2), contrast * U[1/2, 3/2), in this order.

  Saturation is about each pixel's mean over channels, contrast about the image's over all. Nothing is clipped.
  """
  light, saturation, contrast = jnp.moveaxis(random.uniform(keys, (3, 1, 1, 1)), 1, 0)
  x = x + (light - 0.5) * (pixel_range[1] - pixel_range[0]) / 2
  if x.shape[-1] > 1:  # a grey pixel is its own mean
    grey = jnp.mean(x, axis=-1, keepdims=True)
    x = (x - grey) * (2.0 * saturation) + grey
  mean = jnp.mean(x, axis=(1, 2, 3), keepdims=True)
  return (x - mean) * (contrast + 0.5) + mean


def translation(x: Images, keys: Array, pixel_range: tuple[float, float]) -> Images:
  """Moved by whole pixels, uniform up to 1/8 of each side; the middle of the range comes in."""
  reach = (int(x.shape[1] / 8 + 0.5), int(x.shape[2] / 8 + 0.5))
  counts = jnp.array(reach)
  by = jnp.floor(random.uniform(keys, (2,)) * (2 * counts + 1)).astype(jnp.int32) - counts
  return shift(x, by, reach, _middle(pixel_range))


def cutout(x: Images, keys: Array, pixel_range: tuple[float, float]) -> Images:
  """A rectangle of half of each side becomes the middle of the range; its centre is anywhere in the image."""
  u, inside = random.uniform(keys, (2,)), []
  for axis in (0, 1):
    size = x.shape[1 + axis]
    cut = int(size / 2 + 0.5)
    first = jnp.floor(u[:, axis, None] * (size + 1 - cut % 2)) - cut // 2
    pixels = jnp.arange(size)
    inside.append((first <= pixels) & (pixels < first + cut))
  hidden = inside[0][:, :, None] & inside[1][:, None, :]
  return jnp.where(hidden[..., None], _middle(pixel_range), x)


POLICIES: dict[str, Callable[[Images, Array, tuple[float, float]], Images]] = {
  "color": color,
  "translation": translation,
  "cutout": cutout,
}


def diffaugment(
  pixel_range: tuple[float, float], policy: tuple[str, ...] = ("color", "translation", "cutout")
) -> Augmentation:
  """Augments every image (Zhao et al. 2020); the authors' ranges for [-1, 1] are scaled to the images' range.

  Args:
    pixel_range: of the images.
    policy: some of color, translation and cutout, in the order in which they are applied.

  Raises:
    ConfigError: an unknown word, or a repeated one.
  """
  wrong = [name for name in policy if name not in POLICIES]
  if wrong or len(set(policy)) != len(policy) or not policy:
    raise ConfigError(f"policy={tuple(policy)} must be some of {', '.join(POLICIES)}, each once")

  def apply(x: Images, keys: Array, updates: Array) -> Images:
    for name in policy:
      x = POLICIES[name](x, random.row_stream(keys, name), pixel_range)
    return x

  return Augmentation(apply)


def _middle(pixel_range: tuple[float, float]) -> float:
  return (pixel_range[0] + pixel_range[1]) / 2
