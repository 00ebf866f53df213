"""Residual networks between images and maps of z, for codes."""

import flax.linen as nn
import jax.numpy as jnp

from common.layers.basic import with_planes
from common.layers.conv import Conv, ConvTranspose
from common.types import Array, Latents
from vae.networks.network import MapNetwork


class ResidualBlock(nn.Module):
  """x + conv1x1(relu(conv3x3(relu(x)))) with ``hidden`` maps between (van den Oord et al. 2017, Section 4.1).

  Without normalization; the last convolution starts at 0.
  """

  hidden: int
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array) -> Array:
    h = Conv(self.hidden, (3, 3), dtype=self.dtype)(nn.relu(x))
    last = Conv(x.shape[-1], (1, 1), kernel_init=nn.initializers.zeros_init(), dtype=self.dtype)
    return x + last(nn.relu(h)).astype(x.dtype)


class ResNet(MapNetwork):
  """Strided convolutions and then residual blocks, mirrored in the decoder.

  Attributes:
    width: maps of every layer.
    hidden: maps within a residual block.
    halvings: number of times that the image is halved.
    blocks: residual blocks on each side.
  """

  width: int = 128
  hidden: int = 32
  halvings: int = 2
  blocks: int = 2

  def residual(self, x: Array) -> Array:
    """Applies the residual blocks of one side."""
    for _ in range(self.blocks):
      x = ResidualBlock(self.hidden, self.dtype)(x)
    return x


class Encoder(ResNet):
  """q(z|x)."""

  @nn.compact
  def __call__(self, x: Array, given: Array | None, *, train: bool) -> Array:
    x = with_planes(x, given)
    for _ in range(self.halvings):
      x = nn.relu(self.strided(Conv, self.width)(x))
    x = self.residual(Conv(self.width, (3, 3), dtype=self.dtype)(x))
    return self.flat(Conv(self.numbers, (1, 1), dtype=self.dtype)(nn.relu(x).astype(jnp.float32)))


class Decoder(ResNet):
  """p(x|z)."""

  @property
  def last_layer(self) -> str:
    return f"ConvTranspose_{self.halvings - 1}"

  @nn.compact
  def __call__(self, z: Latents, given: Array | None, *, train: bool) -> Array:
    (z,) = z
    z_map = z.reshape(z.shape[0], *self.places(), -1)
    x = self.residual(Conv(self.width, (3, 3), dtype=self.dtype)(with_planes(z_map, given)))
    for features in [self.width] * (self.halvings - 1) + [self.output_shape[-1]]:
      x = self.strided(ConvTranspose, features)(nn.relu(x))
    return x.astype(jnp.float32)
