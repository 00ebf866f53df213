"""A U-Net (Ronneberger et al. 2015) of residual blocks, as DRUNet (Zhang et al. 2021, arXiv:2008.13751).

DRUNet returns the image itself; this network adds its output to the input.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.nn import initializers

from common.layers.conv import Conv, ConvTranspose
from common.types import Array, Images

WEIGHTS = initializers.variance_scaling(2.0, "fan_in", "normal")  # He et al. 2015
SMALL = initializers.variance_scaling(0.02, "fan_in", "normal")  # a block starts close to the identity


class UNet(nn.Module):
  """A picture of the size of the input, of any size: the input is padded to a multiple of its halvings.

  Attributes:
    channels: color channels of the result; the input may have further ones behind them, such as a mask.
    widths: channels at each size, each half the one before.
    blocks: residual blocks at each size, on the way down and on the way up.
    dtype: floating-point type of convolutions.
  """

  channels: int
  widths: tuple[int, ...] = (64, 128, 256, 512)
  blocks: int = 4
  dtype: str = "float32"

  @nn.compact
  def __call__(self, seen: Images, *, train: bool = False) -> Images:
    """[B, H, W, c] -> [B, H, W, channels]."""

    def residual(x: Array) -> Array:
      for _ in range(self.blocks):
        features = x.shape[-1]
        y = nn.relu(Conv(features, 3, use_bias=False, kernel_init=WEIGHTS, dtype=self.dtype)(x))
        x += Conv(features, 3, use_bias=False, kernel_init=SMALL, dtype=self.dtype)(y)
      return x

    height, width = seen.shape[1:3]
    step = 2 ** (len(self.widths) - 1)
    x = jnp.pad(seen, ((0, 0), (0, -height % step), (0, -width % step), (0, 0)), mode="edge")
    x = Conv(self.widths[0], 3, use_bias=False, kernel_init=WEIGHTS, dtype=self.dtype)(x)
    skips = []
    for below in self.widths[1:]:
      skips.append(x)
      x = Conv(below, 2, strides=2, use_bias=False, kernel_init=WEIGHTS, dtype=self.dtype)(residual(x))
    skips.append(x)
    x = residual(x)
    for above in reversed(self.widths[:-1]):
      x = ConvTranspose(above, 2, strides=2, use_bias=False, kernel_init=WEIGHTS, dtype=self.dtype)(x + skips.pop())
      x = residual(x)
    x = Conv(self.channels, 3, use_bias=False, kernel_init=initializers.zeros, dtype=self.dtype)(x + skips.pop())
    return seen[..., : self.channels] + x[:, :height, :width].astype(jnp.float32)
