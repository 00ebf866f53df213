"""The generator of ESRGAN (Wang et al. 2018, arXiv:1809.00219): residual blocks of residual dense blocks, enlarged.

As BasicSR's code has it: dense blocks of five 3x3 convolutions whose weights start at a tenth of He's; each block and
each group of three is added with a factor of 0.2; two doublings by nearest neighbours, each with a convolution. For
scales 2 and 1 blocks of 2x2 and 4x4 pixels of the input become channels first.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.nn import initializers

from common.errors import ConfigError
from common.layers.conv import Conv
from common.restoration.edsr import WEIGHTS, pixel_unshuffle
from common.types import Array, Images

SMALL = initializers.variance_scaling(2.0 * 0.1**2, "fan_in", "normal")
FACTOR = 0.2  # of what a block adds
SLOPE = 0.2  # of LeakyReLU below 0


class RRDB(nn.Module):
  """A picture ``scale`` times as large as the input, of any size.

  Attributes:
    scale: 1, 2 or 4.
    channels: color channels of the result; the input may have further ones behind them.
    width: channels between.
    blocks: number of groups of three dense blocks.
    growth: channels that each convolution of a dense block adds.
    dtype: floating-point type of convolutions.
  """

  scale: int
  channels: int
  width: int = 64
  blocks: int = 23
  growth: int = 32
  dtype: str = "float32"

  @nn.compact
  def __call__(self, seen: Images, *, train: bool = False) -> Images:
    """[B, h, w, c] -> [B, h * scale, w * scale, channels]."""
    if self.scale not in (1, 2, 4):
      raise ConfigError(f"rrdb enlarges by 1, 2 or 4, not by {self.scale}; take --.name=edsr")

    def conv(features: int, x: Array, init: nn.initializers.Initializer = WEIGHTS, resample: str = "none") -> Array:
      return Conv(features, 3, kernel_init=init, dtype=self.dtype, resample=resample)(x)

    def dense(x: Array) -> Array:
      known = x
      for _ in range(4):
        known = jnp.concatenate([known, nn.leaky_relu(conv(self.growth, known, SMALL), SLOPE)], axis=-1)
      return x + FACTOR * conv(self.width, known, SMALL)

    step = 4 // self.scale
    height, width = seen.shape[1:3]
    x = jnp.pad(seen, ((0, 0), (0, -height % step), (0, -width % step), (0, 0)), mode="edge")
    head = conv(self.width, pixel_unshuffle(x, step))
    x = head
    for _ in range(self.blocks):
      x += FACTOR * dense(dense(dense(x)))
    x = conv(self.width, x) + head
    for _ in range(2):
      x = nn.leaky_relu(conv(self.width, x, resample="double"), SLOPE)
    x = conv(self.channels, nn.leaky_relu(conv(self.width, x), SLOPE))
    return x[:, : height * self.scale, : width * self.scale].astype(jnp.float32)
