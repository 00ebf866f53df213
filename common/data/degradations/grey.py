"""Grey values of colours."""

import dataclasses

import jax.numpy as jnp

from common.data.degradations.degradation import Degradation, Shape
from common.errors import ConfigError
from common.types import Array, Images


def luma(x: Images) -> Images:
  """0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), [..., 3] -> [..., 1]."""
  return jnp.sum(x * jnp.array([0.299, 0.587, 0.114]), axis=-1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class Grey(Degradation):
  """Leaves one channel, the luma of BT.601."""

  def shape(self, image_shape: Shape) -> Shape:
    height, width, channels = image_shape
    if channels != 3:
      raise ConfigError(f"grey needs images of 3 channels, and these have {channels}")
    return height, width, 1

  def __call__(self, x: Images, keys: Array) -> Images:
    return luma(x)
