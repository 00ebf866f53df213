"""The residual networks of SAGAN (Zhang et al. 2019, arXiv:1805.08318), at the sizes of DOUBLED.

As the authors' code has them: G starts at 4x4 with as many channels as the width doubled n - 1 times, and each block
doubles the image; the first keeps the channels, each further one halves them. D is its mirror image with one more block
at 4x4, and sums over all pixels. Self-attention comes after the block whose output has a stated size, 32 in the paper.
Every layer of both networks has spectral normalization, G's too; BatchNorm and ReLU in G, ReLU in D; weights from
Glorot's uniform distribution.

A 1x1 convolution commutes with doubling and with pooling, and is here on the side of the smaller image: the same
function as the paper's for a quarter of the work.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.layers.attention import SelfAttention
from common.layers.basic import output_activation
from common.layers.conv import Conv, double, halve
from common.layers.normalization import BatchNormed
from common.layers.spectral import SpectralNorm
from common.types import Array
from gan.networks.interface import DOUBLED, DiscriminatorOutput, LabelHead, base_of, num_doublings

GLOROT = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")


class SaganNet(nn.Module):
  """The layers of both networks.

  Attributes:
    width: channels of the block next to the image, doubled at each block further away from it.
    attention_size: height of the image that attention sees; 0: no attention.
    spectral_norm: divides each layer's weights by their largest singular value.
  """

  _: dataclasses.KW_ONLY
  width: int = 64
  attention_size: int = 32
  spectral_norm: bool = True
  dtype: str = "float32"

  def normalized(self, layer: nn.Module) -> Callable[[Array], Array]:
    return SpectralNorm(layer) if self.spectral_norm else layer

  def conv(self, x: Array, features: int, size: int = 3, **options: Any) -> Array:
    return self.normalized(Conv(features, size, kernel_init=GLOROT, dtype=self.dtype, **options))(x)

  def attend(self, x: Array) -> Array:
    """Applies attention if x has the size for it."""
    return SelfAttention(self.spectral_norm, GLOROT, self.dtype)(x) if x.shape[1] == self.attention_size else x

  def check_attention(self, sizes: list[int]) -> None:
    """Raises ConfigError unless the output of a block, whose ``sizes`` these are, has the size for attention."""
    if self.attention_size and self.attention_size not in sizes:
      raise ConfigError(
        f"attention_size={self.attention_size} is the output of no block, which have {', '.join(map(str, sizes))}; "
        f"take --.attention_size={sizes[0]}, another of them, or --.attention_size=0 for no attention"
      )


class Generator(SaganNet, BatchNormed):
  """z to 4x4, doubled up to H x W by residual blocks, one of which attention follows."""

  takes_given = "class_batch_norm"
  sizes = DOUBLED
  image_shape: tuple[int, int, int]
  pixel_range: tuple[float, float]

  @nn.compact
  def __call__(self, z: Array, *, train: bool, given: Array | None = None) -> Array:
    """z [B, Z], and given [B, K] for all BatchNorms but the last -> [B, H, W, C]."""

    def normalize(x: Array, given: Array | None = given) -> Array:
      return nn.relu(self.norm(x, train=train, given=given))

    stages, base = num_doublings(self.image_shape), base_of(self.image_shape)
    self.check_attention([2 * base[0] * 2**stage for stage in range(stages)])
    channels = self.width * 2 ** (stages - 1)
    x = self.normalized(nn.Dense(math.prod(base) * channels, kernel_init=GLOROT, dtype=self.dtype))(z)
    x = x.reshape(-1, *base, channels)
    for stage in reversed(range(stages)):
      features = self.width * 2**stage
      shortcut = double(self.conv(x, features, 1))
      x = self.conv(normalize(x), features, resample="double", use_bias=False)  # BatchNorm would cancel the bias
      x = self.attend(self.conv(normalize(x), features) + shortcut)
    x = self.conv(normalize(x, given=None), self.image_shape[-1])
    return output_activation(x.astype(jnp.float32), self.pixel_range)


class Discriminator(SaganNet):
  """H x W, halved to 4x4 by residual blocks, attention after one of them, one more block, a sum, one logit."""

  sizes = DOUBLED
  image_shape: tuple[int, int, int]
  label_head: LabelHead = LabelHead()

  @nn.compact
  def __call__(self, x: Array, *, train: bool, keys: Array, given: Array | None = None) -> DiscriminatorOutput:
    """[B, H, W, C] -> logits [B]."""
    stages = num_doublings(self.image_shape)
    self.check_attention([base_of(self.image_shape)[0] * 2**stage for stage in range(stages)])
    for stage in range(stages):
      features = self.width * 2**stage
      first = self.conv(nn.relu(x) if stage else x, features)  # the first block meets pixels, which no ReLU must cut
      x = self.conv(nn.relu(first), features, resample="halve") + self.conv(halve(x), features, 1)
      x = self.attend(x)
    x = x + self.conv(nn.relu(self.conv(nn.relu(x), x.shape[-1])), x.shape[-1])
    features = jnp.sum(nn.relu(x).astype(jnp.float32), axis=(1, 2))
    logits = self.normalized(nn.Dense(1, kernel_init=GLOROT))(features)
    return self.label_head(jnp.squeeze(logits, -1), features, given, GLOROT, self.normalized)
