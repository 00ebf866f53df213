"""The autoencoder of VQGAN (Esser et al. 2021, arXiv:2012.09841) and of latent diffusion (Rombach et al. 2022).

As in the authors' code (CompVis/taming-transformers, diffusionmodules/model.py): residual blocks of GroupNorm, swish
and 3x3 convolutions after Ho et al. 2020; a map is halved by a 3x3 convolution of stride 2 and doubled by nearest
neighbours with a 3x3 convolution; self-attention stands in the middle, on the smallest map.
"""

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.layers.basic import with_planes
from common.layers.conv import Conv
from common.types import Array, Latents
from vae.networks.network import MapNetwork


class Activated(nn.Module):
  """swish(GroupNorm(x))."""

  groups: int
  dtype: str

  @nn.compact
  def __call__(self, x: Array) -> Array:
    return nn.swish(_group_norm(self.groups, self.dtype)(x))


def _group_norm(groups: int, dtype: str) -> nn.Module:
  return nn.GroupNorm(groups, epsilon=1e-6, use_fast_variance=False, dtype=dtype)


class ResidualBlock(nn.Module):
  """x + conv(swish(norm(conv(swish(norm(x)))))); a 1x1 convolution maps x where the number of channels changes."""

  features: int
  groups: int
  dtype: str

  @nn.compact
  def __call__(self, x: Array) -> Array:
    h = x
    for _ in range(2):
      h = Conv(self.features, 3, dtype=self.dtype)(Activated(self.groups, self.dtype)(h))
    if x.shape[-1] != self.features:
      x = Conv(self.features, 1, dtype=self.dtype)(x)
    return x + h


class Attention(nn.Module):
  """x + W softmax(q^T k / sqrt(C)) v over all places of a map, by one head; q, k and v are linear in norm(x)."""

  groups: int
  dtype: str

  @nn.compact
  def __call__(self, x: Array) -> Array:
    batch, height, width, channels = x.shape
    h = _group_norm(self.groups, self.dtype)(x).reshape(batch, height * width, 1, channels)
    query, key, value = (nn.Dense(channels, dtype=self.dtype, name=name)(h) for name in ("query", "key", "value"))
    seen = nn.dot_product_attention(query, key, value).reshape(x.shape)
    return x + nn.Dense(channels, dtype=self.dtype, name="out")(seen)


class VqganNet(MapNetwork):
  """Residual blocks at each size of the map, the smallest with self-attention, mirrored in the decoder.

  Attributes:
    width: channels of the first layer.
    multipliers: channels at each size of the map, from the image's on, in units of ``width``.
    blocks: residual blocks at each size; the decoder has one more.
    attention: sides of the maps on which self-attention follows each block, besides that in the middle.
    channels: channels between the network and z, for each statistic of the posterior.
    groups: groups of each normalization.
  """

  width: int = 128
  multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
  blocks: int = 2
  attention: tuple[int, ...] = (16,)
  channels: int = 256
  groups: int = 32

  def __post_init__(self):
    if not self.multipliers or self.groups < 1 or any(self.width * by % self.groups for by in self.multipliers):
      raise ConfigError(
        f"groups={self.groups} must divide width={self.width} times each of multipliers={tuple(self.multipliers)}; "
        "take --.groups=1 or another width"
      )
    super().__post_init__()

  @property
  def halvings(self) -> int:
    return len(self.multipliers) - 1

  def places(self, setting: str = "multipliers") -> tuple[int, int]:
    return super().places(setting)

  def conv(self, features: int, size: int = 3, **options: object) -> nn.Module:
    return Conv(features, size, dtype=self.dtype, **options)

  def block(self, features: int, x: Array, *, attends: bool) -> Array:
    """Applies a residual block and, where it ``attends``, self-attention."""
    x = ResidualBlock(features, self.groups, self.dtype)(x)
    return Attention(self.groups, self.dtype)(x) if attends else x

  def stage(self, x: Array, level: int, blocks: int) -> Array:
    """Applies the blocks of one size of the map."""
    for _ in range(blocks):
      x = self.block(self.width * self.multipliers[level], x, attends=min(x.shape[1:3]) in self.attention)
    return x

  def middle(self, x: Array) -> Array:
    return self.block(x.shape[-1], self.block(x.shape[-1], x, attends=True), attends=False)

  def activated(self, x: Array) -> Array:
    return Activated(self.groups, self.dtype)(x)


class Encoder(VqganNet):
  """q(z|x)."""

  @nn.compact
  def __call__(self, x: Array, given: Array | None, *, train: bool) -> Array:
    kinds = self.num_stats(self.z_dim) // self.z_dim
    x = self.conv(self.width)(with_planes(x, given))
    for level in range(self.halvings + 1):
      x = self.stage(x, level, self.blocks)
      if level < self.halvings:
        x = self.conv(x.shape[-1], strides=2)(x)
    x = self.conv(kinds * self.channels)(self.activated(self.middle(x)))
    return self.flat(self.conv(self.numbers, 1)(x))


class Decoder(VqganNet):
  """p(x|z)."""

  last_layer = "last"

  @nn.compact
  def __call__(self, z: Latents, given: Array | None, *, train: bool) -> Array:
    (z,) = z
    x = self.conv(self.channels, 1)(with_planes(z.reshape(z.shape[0], *self.places(), -1), given))
    x = self.middle(self.conv(self.width * self.multipliers[-1])(x))
    for level in reversed(range(self.halvings + 1)):
      x = self.stage(x, level, self.blocks + 1)
      if level:
        x = self.conv(x.shape[-1], resample="double")(x)
    return self.conv(self.output_shape[-1], name=self.last_layer)(self.activated(x)).astype(jnp.float32)
