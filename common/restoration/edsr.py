"""EDSR (Lim et al. 2017, arXiv:1707.02921): residual blocks without normalization, enlarged at the end.

The sizes that others compare are those of BasicSR's code: EDSR-M has 16 blocks of 64 channels and a residual scale of
1, EDSR-L has 32 of 256 and 0.1.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.nn import initializers

from common.data.degradations.resize import resized
from common.errors import ConfigError
from common.layers.conv import Conv
from common.types import Array, Images

WEIGHTS = initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")  # PyTorch's default, as in BasicSR
DIV2K_MEAN = (0.4488, 0.4371, 0.4040)


class EDSR(nn.Module):
  """A picture ``scale`` times as large as the input, of any size.

  Attributes:
    scale: 1, 3 or a power of 2.
    channels: color channels of the result; the input may have further ones behind them.
    width: channels between.
    blocks: number of residual blocks.
    residual_scale: factor of each block's branch.
    value_range: the network computes with values times this; the larger it is, the less its biases matter.
    upsampler: "stages" enlarges by 2 or 3 at a time, each by a convolution to ``width`` channels of the larger size, as
      in the paper; "direct" makes the result's pixels by one convolution, in two thirds of the time at scale 2.
    skip: whether the network's output is added to the input enlarged bicubically.
    dtype: floating-point type of convolutions.
  """

  scale: int
  channels: int
  width: int = 64
  blocks: int = 16
  residual_scale: float = 1.0
  value_range: float = 255.0
  upsampler: str = "stages"
  skip: bool = False
  dtype: str = "float32"

  @nn.compact
  def __call__(self, seen: Images, *, train: bool = False) -> Images:
    """[B, h, w, c] -> [B, h * scale, w * scale, channels]."""
    if self.upsampler not in ("stages", "direct"):
      raise ConfigError(f'upsampler="{self.upsampler}" is not one of stages, direct')

    def conv(features: int, x: Array) -> Array:
      return Conv(features, 3, kernel_init=WEIGHTS, dtype=self.dtype)(x)

    mean = jnp.asarray(DIV2K_MEAN) if self.channels == seen.shape[-1] == 3 else jnp.mean(jnp.asarray(DIV2K_MEAN))
    head = conv(self.width, (seen - mean) * self.value_range)
    x = head
    for _ in range(self.blocks):
      x += self.residual_scale * conv(self.width, nn.relu(conv(self.width, x)))
    x = conv(self.width, x) + head
    for factor in _factors(self.scale) if self.upsampler == "stages" else ():
      x = pixel_shuffle(conv(factor**2 * self.width, x), factor)
    last = 1 if self.upsampler == "stages" else self.scale
    x = pixel_shuffle(conv(last**2 * self.channels, x), last).astype(jnp.float32) / self.value_range
    return x + (resized(seen[..., : self.channels], x.shape[1], x.shape[2]) if self.skip else mean)


def _factors(scale: int) -> tuple[int, ...]:
  """Returns the factors by which a picture is enlarged one after the other."""
  if scale == 3:
    return (3,)
  if scale < 1 or scale & (scale - 1):
    raise ConfigError(f'upsampler="stages" enlarges by 1, 3 or a power of 2, not by {scale}; take --.upsampler=direct')
  return (2,) * (scale.bit_length() - 1)


def pixel_shuffle(x: Array, factor: int) -> Array:
  """Makes channel (c, i, j) pixel (i, j) of a block, [B, H, W, C f f] -> [B, H f, W f, C] (Shi et al. 2016, Eq. 4)."""
  batch, height, width, channels = x.shape
  x = x.reshape(batch, height, width, channels // factor**2, factor, factor)
  x = jnp.transpose(x, (0, 1, 4, 2, 5, 3))
  return x.reshape(batch, height * factor, width * factor, channels // factor**2)


def pixel_unshuffle(x: Array, factor: int) -> Array:
  """Undoes `pixel_shuffle`: [B, H f, W f, C] -> [B, H, W, C f f]."""
  batch, height, width, channels = x.shape
  x = x.reshape(batch, height // factor, factor, width // factor, factor, channels)
  x = jnp.transpose(x, (0, 1, 3, 5, 2, 4))
  return x.reshape(batch, height // factor, width // factor, channels * factor**2)
