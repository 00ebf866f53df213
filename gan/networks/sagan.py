"""The residual networks of SAGAN (Zhang et al. 2019, arXiv:1805.08318), at any size of 4 * 2^n pixels.

As the authors' code has them: G starts at 4x4 with as many channels as the width doubled n - 1 times, and each block
doubles the image; the first keeps the channels, each further one halves them. D is its mirror image with one more block
at 4x4, and sums over all pixels. Self-attention comes after the block whose output has a stated size, 32 in the paper.
Every layer of both networks has spectral normalization, G's too; BatchNorm and ReLU in G, ReLU in D; weights from
Glorot's uniform distribution.

A 1x1 convolution commutes with doubling and with pooling, and is here on the side of the smaller image: the same
function as the paper's for a quarter of the work.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.layers.attention import SelfAttention
from common.layers.basic import output_activation
from common.layers.conv import Conv, double, halve
from common.layers.normalization import BatchNorm
from common.layers.spectral import SpectralNorm
from common.types import Array
from gan.networks.dcgan import num_stages
from gan.networks.output import DiscriminatorOutput, LabelHead
from gan.networks.sizes import SQUARES

GLOROT = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")


def check_attention(size: int, sizes: list[int]) -> None:
  """Raises ConfigError where no block's output is ``size`` pixels wide."""
  if size and size not in sizes:
    raise ConfigError(
      f"attention_size={size} is the output of no block, which have {', '.join(map(str, sizes))}; "
      f"take --.attention_size={sizes[0]}, another of them, or --.attention_size=0 for no attention"
    )


class Generator(nn.Module):
  """z to 4x4, doubled up to H x W by residual blocks, one of which attention follows.

  Attributes:
    image_shape: (height, width, channels) of the data.
    pixel_range: of the data.
    width: channels of the last block, doubled at each towards z.
    attention_size: height and width of the image that attention sees; 0 for none.
    spectral_norm: divides each layer's weights by their largest singular value.
    bn_momentum: of BatchNorm's running statistics, running = momentum * running + (1 - momentum) * batch.
    bn_epsilon: added to BatchNorm's variance.
    bn_axis_name: the device axis that BatchNorm is synchronised over, None for none.
    norm_classes: labels that each have their own scale and bias in BatchNorm, but in the last; 0: one for all.
    dtype: what convolutions compute in.
  """

  sizes = SQUARES
  image_shape: tuple[int, int, int]
  pixel_range: tuple[float, float]
  width: int = 64
  attention_size: int = 32
  spectral_norm: bool = True
  bn_momentum: float = 0.9
  bn_epsilon: float = 1e-5
  bn_axis_name: str | None = None
  norm_classes: int = 0
  dtype: str = "float32"

  @nn.compact
  def __call__(self, z: Array, *, train: bool, labels: Array | None = None) -> Array:
    """[B, Z], with ``norm_classes`` labels [B] -> [B, H, W, C]."""

    def normalize(x: Array, num_classes: int = self.norm_classes) -> Array:
      norm = BatchNorm(
        momentum=self.bn_momentum,
        epsilon=self.bn_epsilon,
        axis_name=self.bn_axis_name,
        num_classes=num_classes,
      )
      return nn.relu(norm(x, train=train, labels=labels))

    def normalized(layer: nn.Module) -> Callable[[Array], Array]:
      return SpectralNorm(layer) if self.spectral_norm else layer

    def conv(x: Array, features: int, size: int = 3, **options: Any) -> Array:
      return normalized(Conv(features, size, kernel_init=GLOROT, dtype=self.dtype, **options))(x)

    stages = num_stages(self.image_shape)
    check_attention(self.attention_size, [8 * 2**stage for stage in range(stages)])
    channels = self.width * 2 ** (stages - 1)
    x = normalized(nn.Dense(4 * 4 * channels, kernel_init=GLOROT, dtype=self.dtype))(z).reshape(-1, 4, 4, channels)
    for stage in reversed(range(stages)):
      features = self.width * 2**stage
      shortcut = double(conv(x, features, 1))
      x = conv(normalize(x), features, resample="double", use_bias=False)  # BatchNorm would cancel the bias
      x = conv(normalize(x), features) + shortcut
      if x.shape[1] == self.attention_size:
        x = SelfAttention(self.spectral_norm, GLOROT, self.dtype)(x)
    x = conv(normalize(x, num_classes=0), self.image_shape[-1])
    return output_activation(x.astype(jnp.float32), self.pixel_range)


class Discriminator(nn.Module):
  """H x W, halved to 4x4 by residual blocks, one of which attention follows, one more, the sum over pixels, one logit.

  Attributes:
    image_shape: (height, width, channels) of the data.
    width: channels of the first block, doubled at each further halving.
    attention_size: height and width of the image that attention sees; 0 for none.
    spectral_norm: divides each layer's weights by their largest singular value.
    label_head: what its features say of labels.
    dtype: what convolutions compute in.
  """

  sizes = SQUARES
  image_shape: tuple[int, int, int]
  width: int = 64
  attention_size: int = 32
  spectral_norm: bool = True
  label_head: LabelHead = LabelHead()
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array, *, train: bool, rows: Array, labels: Array | None = None) -> DiscriminatorOutput:
    """[B, H, W, C] -> logits [B]."""

    def normalized(layer: nn.Module) -> Callable[[Array], Array]:
      return SpectralNorm(layer) if self.spectral_norm else layer

    def conv(x: Array, features: int, size: int = 3, resample: str = "none") -> Array:
      return normalized(Conv(features, size, kernel_init=GLOROT, dtype=self.dtype, resample=resample))(x)

    stages = num_stages(self.image_shape)
    check_attention(self.attention_size, [4 * 2**stage for stage in range(stages)])
    for stage in range(stages):
      features = self.width * 2**stage
      first = conv(nn.relu(x) if stage else x, features)  # the first block meets pixels, which no ReLU must cut
      x = conv(nn.relu(first), features, resample="halve") + conv(halve(x), features, 1)
      if x.shape[1] == self.attention_size:
        x = SelfAttention(self.spectral_norm, GLOROT, self.dtype)(x)
    x = x + conv(nn.relu(conv(nn.relu(x), x.shape[-1])), x.shape[-1])
    features = jnp.sum(nn.relu(x).astype(jnp.float32), axis=(1, 2))
    logits = normalized(nn.Dense(1, kernel_init=GLOROT))(features)
    return self.label_head(jnp.squeeze(logits, -1), features, labels, GLOROT, normalized)
