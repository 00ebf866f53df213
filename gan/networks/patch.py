"""The patch discriminator of pix2pix (Isola et al. 2017, arXiv:1611.07004): a logit for each patch of an image.

As in the authors' code: 4x4 convolutions of stride 2 with channels that double up to 8 times the first, then two of
stride 1, all padded by a pixel; BatchNorm but after the first and the last; LeakyReLU(0.2); weights from N(0, 0.02).
"""

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.layers.conv import Conv
from common.layers.normalization import BatchNormed
from common.types import Array
from gan.networks.dcgan import WEIGHTS, gamma_init
from gan.networks.interface import DiscriminatorOutput, Sizes

SLOPE = 0.2  # of LeakyReLU below 0


class Discriminator(BatchNormed):
  """Logits of overlapping patches of 16, 34 or 70 pixels a side for 1, 2 or 3 layers of stride 2.

  Attributes:
    width: channels after the first convolution.
    layers: number of convolutions of stride 2.
    batch_norm: BatchNorm after every convolution but the first and the last; False: biases instead.
  """

  sizes = Sizes("images of 8 pixels or more", least=8, factor=lambda shorter: 1)
  width: int = 64
  layers: int = 3
  batch_norm: bool = True
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array, *, train: bool, keys: Array) -> DiscriminatorOutput:
    """[B, H, W, C] -> logits [B, h, w]; features [B, F] are means over the patches."""
    _, height, width, channels = x.shape
    self.sizes.check((height, width, channels))
    least = 3 * 2**self.layers
    if min(height, width) < least:
      raise ConfigError(f"layers={self.layers} is for images of {least} pixels or more; take --.layers=1")
    activations = []
    for layer in range(self.layers + 1):
      normalized, strides = self.batch_norm and layer > 0, 2 if layer < self.layers else 1
      features = self.width * min(2**layer, 8)
      x = Conv(features, 4, strides, padding=1, use_bias=not normalized, kernel_init=WEIGHTS, dtype=self.dtype)(x)
      if normalized:
        x = self.norm(x, train=train, scale_init=gamma_init)
      x = nn.leaky_relu(x, SLOPE)
      activations.append(x.astype(jnp.float32))
    logits = Conv(1, 4, padding=1, kernel_init=WEIGHTS, dtype=self.dtype)(x).astype(jnp.float32)
    return DiscriminatorOutput(
      logits=logits[..., 0], features=jnp.mean(activations[-1], axis=(1, 2)), layers=tuple(activations)
    )
