"""Networks of a VAE that restores: an image and what is seen of it down to z, and back beside the maps of what is seen.

They are those of VAEAC (Ivanov et al. 2019, arXiv:1806.02382) on a smaller scale, with the blocks of resnet.py.
"""

import math

import flax.linen as nn
import jax.numpy as jnp

from common.layers.conv import Conv, ConvTranspose
from common.types import Array, Images, Latents
from vae.networks.network import Network
from vae.networks.resnet import ResidualBlock


def residual(x: Array, blocks: int, dtype: str) -> Array:
  """Applies residual blocks, each with half as many channels between."""
  for _ in range(blocks):
    x = ResidualBlock(max(x.shape[-1] // 2, 1), dtype)(x)
  return x


class Pyramid(nn.Module):
  """Maps of an image, [B, H, W, C] -> [B, H, W, channels[0]], [B, H / 2, W / 2, channels[1]], ...

  Attributes:
    channels: channels of the maps at each size.
    blocks: residual blocks at each size.
    dtype: number format in which layers compute.
  """

  channels: tuple[int, ...]
  blocks: int
  dtype: str

  @nn.compact
  def __call__(self, x: Images) -> tuple[Array, ...]:
    maps: list[Array] = []
    for features in self.channels:
      if maps:
        x = Conv(features, (4, 4), strides=(2, 2), dtype=self.dtype)(nn.relu(x))
      else:
        x = Conv(features, (3, 3), dtype=self.dtype)(x)
      x = residual(x, self.blocks, self.dtype)
      maps.append(x)
    return tuple(maps)


class UNet(Network):
  """A pyramid on the side of the encoder, and its mirror image on that of the decoder.

  Attributes:
    channels: channels at each size, each half the one before; also those of the maps of what is seen.
    blocks: residual blocks at each size, on each side.
  """

  channels: tuple[int, ...] = (16, 32, 64)
  blocks: int = 1
  images_only = takes_maps = True


class Encoder(UNet):
  """q(z|x, seen)."""

  @nn.compact
  def __call__(self, x: Images, given: Images, *, train: bool) -> Array:
    self.halved(len(self.channels) - 1, "channels")
    last = nn.relu(Pyramid(self.channels, self.blocks, self.dtype)(jnp.concatenate([x, given], axis=-1))[-1])
    return nn.Dense(self.num_stats(self.z_dim), name="stats")(last.reshape(len(x), -1).astype(jnp.float32))


class Decoder(UNet):
  """p(x|z, seen)."""

  @nn.compact
  def __call__(self, z: Latents, given: tuple[Array, ...], *, train: bool) -> Array:
    *beside, last = given
    x = nn.Dense(math.prod(last.shape[1:]), name="project")(jnp.concatenate(z, axis=-1)).reshape(-1, *last.shape[1:])
    x = self._joined(x, last)
    for maps in reversed(beside):
      x = self._joined(self.strided(ConvTranspose, maps.shape[-1])(nn.relu(x)), maps)
    return Conv(self.output_shape[-1], (3, 3), dtype=self.dtype)(nn.relu(x)).astype(jnp.float32)

  def _joined(self, x: Array, maps: Array) -> Array:
    """Joins the decoder's maps to those of what is seen at the same size."""
    joined = nn.relu(jnp.concatenate([x, maps], axis=-1))
    return residual(Conv(maps.shape[-1], (3, 3), dtype=self.dtype)(joined), self.blocks, self.dtype)
