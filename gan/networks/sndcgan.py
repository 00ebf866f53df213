"""The convolutional networks of SNGAN (Miyato et al. 2018, arXiv:1802.05957, Table 3), at any multiple of 8 pixels.

G: a dense layer to H / 8 x W / 8 of 512 channels, then three 4x4 fractionally strided convolutions of 256, 128 and 64,
BatchNorm and ReLU before each and before the last 3x3 convolution. D: 3x3 convolutions of 64, 128, 256 and 512
channels with a 4x4 convolution of stride 2 to the next number between each two, as the authors' code and compare_gan
have it; LeakyReLU(0.1), spectral normalization of every layer, no BatchNorm. Weights from N(0, 0.02).
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.layers.basic import output_activation
from common.layers.conv import Conv, ConvTranspose
from common.layers.normalization import BatchNorm
from common.layers.spectral import SpectralNorm
from common.types import Array
from gan.networks.output import DiscriminatorOutput, LabelHead

WEIGHTS = nn.initializers.normal(0.02)


def eighth(image_shape: tuple[int, int, int]) -> tuple[int, int]:
  """(H / 8, W / 8).

  Raises:
    ConfigError: a height or width that 8 does not divide.
  """
  height, width, _ = image_shape
  if height % 8 or width % 8:
    raise ConfigError(
      f"this network halves an image three times, which needs multiples of 8, not {height}x{width}; "
      "set config.data.image_size"
    )
  return height // 8, width // 8


class Generator(nn.Module):
  """z to H / 8 x W / 8 by a dense layer, doubled three times.

  Attributes:
    image_shape: (height, width, channels) of the data.
    pixel_range: of the data.
    width: channels before the output, doubled at each stage towards z.
    bn_momentum: of BatchNorm's running statistics, running = momentum * running + (1 - momentum) * batch.
    bn_epsilon: added to BatchNorm's variance; Chainer's 2e-5, which the authors have.
    bn_axis_name: the device axis that BatchNorm is synchronised over, None for none.
    norm_classes: labels that each have their own scale and bias in BatchNorm; 0: one for all.
    dtype: what convolutions compute in.
  """

  image_shape: tuple[int, int, int]
  pixel_range: tuple[float, float]
  width: int = 64
  bn_momentum: float = 0.9
  bn_epsilon: float = 2e-5
  bn_axis_name: str | None = None
  norm_classes: int = 0
  dtype: str = "float32"

  @nn.compact
  def __call__(self, z: Array, *, train: bool, labels: Array | None = None) -> Array:
    """[B, Z], with ``norm_classes`` labels [B] -> [B, H, W, C]."""

    def normalize(x: Array) -> Array:
      norm = BatchNorm(
        momentum=self.bn_momentum,
        epsilon=self.bn_epsilon,
        axis_name=self.bn_axis_name,
        num_classes=self.norm_classes,
      )
      return nn.relu(norm(x, train=train, labels=labels))

    height, width = eighth(self.image_shape)
    # No bias before BatchNorm, which would cancel it.
    x = nn.Dense(8 * self.width * height * width, use_bias=False, kernel_init=WEIGHTS, dtype=self.dtype)(z)
    x = normalize(x.reshape(-1, height, width, 8 * self.width))
    for factor in (4, 2, 1):
      layer = ConvTranspose(factor * self.width, 4, strides=2, use_bias=False, kernel_init=WEIGHTS, dtype=self.dtype)
      x = normalize(layer(x))
    x = Conv(self.image_shape[-1], 3, kernel_init=WEIGHTS, dtype=self.dtype)(x)
    return output_activation(x.astype(jnp.float32), self.pixel_range)


class Discriminator(nn.Module):
  """H x W, halved three times by seven convolutions, then one logit.

  Attributes:
    image_shape: (height, width, channels) of the data.
    width: channels of the first convolution, doubled at each halving.
    slope: of LeakyReLU below 0.
    spectral_norm: divides each layer's weights by their largest singular value.
    label_head: what its features say of labels.
    dtype: what convolutions compute in.
  """

  image_shape: tuple[int, int, int]
  width: int = 64
  slope: float = 0.1
  spectral_norm: bool = True
  label_head: LabelHead = LabelHead()
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array, *, train: bool, rows: Array, labels: Array | None = None) -> DiscriminatorOutput:
    """[B, H, W, C] -> logits [B]."""

    def normalized(layer: nn.Module) -> Callable[[Array], Array]:
      return SpectralNorm(layer) if self.spectral_norm else layer

    def conv(x: Array, features: int, size: int, stride: int) -> Array:
      layer = Conv(features, size, strides=stride, kernel_init=WEIGHTS, dtype=self.dtype)
      return nn.leaky_relu(normalized(layer)(x), self.slope)

    eighth(self.image_shape)
    for factor in (1, 2, 4):
      x = conv(conv(x, factor * self.width, 3, 1), 2 * factor * self.width, 4, 2)
    x = conv(x, 8 * self.width, 3, 1)
    features = x.reshape(x.shape[0], -1).astype(jnp.float32)
    logits = normalized(nn.Dense(1, kernel_init=WEIGHTS))(features)
    return self.label_head(jnp.squeeze(logits, -1), features, labels, WEIGHTS, normalized)
