"""DnCNN (Zhang et al. 2017, arXiv:1608.03981): a stack of convolutions that predicts what was added to the image.

With ``shrink`` 2 the stack works at half the size, on blocks of 2x2 pixels as channels, as in FFDNet (Zhang et al.
2018, arXiv:1710.04026): it sees as far with half the layers.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.nn import initializers

from common.layers.conv import Conv
from common.layers.normalization import BatchNormed
from common.restoration.edsr import pixel_shuffle, pixel_unshuffle
from common.types import Images

WEIGHTS = initializers.variance_scaling(2.0, "fan_in", "normal")  # He et al. 2015


class DnCNN(BatchNormed):
  """The input, of any size, minus what the network takes for noise.

  Attributes:
    channels: color channels of the result; the input may have further ones behind them.
    width: channels between.
    layers: number of convolutions.
    shrink: side of the blocks of pixels that become channels; 1 for none.
    batch_norm: whether BatchNorm follows each convolution but the first and the last.
    dtype: floating-point type of convolutions.
  """

  channels: int
  width: int = 64
  layers: int = 17
  shrink: int = 1
  batch_norm: bool = True
  dtype: str = "float32"

  @nn.compact
  def __call__(self, seen: Images, *, train: bool) -> Images:
    """[B, H, W, c] -> [B, H, W, channels]."""
    (height, width), step = seen.shape[1:3], self.shrink
    x = jnp.pad(seen, ((0, 0), (0, -height % step), (0, -width % step), (0, 0)), mode="edge")
    x = pixel_unshuffle(x, step)
    for layer in range(self.layers - 1):
      normalized = self.batch_norm and layer > 0
      x = Conv(self.width, 3, use_bias=not normalized, kernel_init=WEIGHTS, dtype=self.dtype)(x)
      x = nn.relu(self.norm(x, train=train) if normalized else x)
    x = Conv(step**2 * self.channels, 3, kernel_init=initializers.zeros, dtype=self.dtype)(x)
    noise = pixel_shuffle(x, step)[:, :height, :width]
    return seen[..., : self.channels] - noise.astype(jnp.float32)
