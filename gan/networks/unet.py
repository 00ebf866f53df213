"""The U-Net discriminator of Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833): a logit for each pixel.

As in the authors' code: a 3x3 convolution, three 4x4 ones of stride 2 that double the channels, three 3x3 ones after
bilinear doublings, to each of whose outputs the activation of the same size is added, and three more 3x3 ones;
LeakyReLU(0.2); spectral normalization without biases in all but the first and the last; PyTorch's initial weights.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.layers.conv import Conv
from common.layers.spectral import SpectralNorm
from common.restoration.edsr import WEIGHTS
from common.types import Array
from gan.networks.interface import DiscriminatorOutput, Sizes

SLOPE = 0.2  # of LeakyReLU below 0


class Discriminator(nn.Module):
  """H x W, halved three times, doubled three times, then a logit for each pixel.

  Attributes:
    width: channels at the image's size, doubled at each halving.
  """

  sizes = Sizes("multiples of 8 pixels", least=8, factor=lambda shorter: 8)
  width: int = 64
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array, *, train: bool, keys: Array) -> DiscriminatorOutput:
    """[B, H, W, C] -> logits [B, H, W]; features [B, F] are means over the pixels."""
    _, height, width, channels = x.shape
    self.sizes.check((height, width, channels))

    def conv(x: Array, features: int, size: int = 3, **options: Any) -> Array:
      layer = Conv(features, size, kernel_init=WEIGHTS, use_bias=False, dtype=self.dtype, **options)
      return nn.leaky_relu(SpectralNorm(layer)(x), SLOPE)

    down = [nn.leaky_relu(Conv(self.width, 3, kernel_init=WEIGHTS, dtype=self.dtype)(x), SLOPE)]
    for halving in range(1, 4):
      down.append(conv(down[-1], self.width * 2**halving, 4, strides=2))
    layers, x = list(down), down.pop()
    while down:
      beside = down.pop()
      x = jax.image.resize(x, (*beside.shape[:3], x.shape[-1]), "bilinear")
      x = conv(x, beside.shape[-1]) + beside
      layers.append(x)
    for _ in range(2):
      x = conv(x, self.width)
    logits = Conv(1, 3, kernel_init=WEIGHTS, dtype=self.dtype)(x).astype(jnp.float32)
    features = jnp.mean(x.astype(jnp.float32), axis=(1, 2))
    return DiscriminatorOutput(
      logits=logits[..., 0], features=features, layers=tuple(layer.astype(jnp.float32) for layer in layers)
    )
