"""Residual networks between images and maps of z, for codes."""

import math

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.layers.basic import with_planes
from common.layers.conv import Conv, ConvTranspose
from common.types import Array, Latents
from vae.networks.network import Network


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


class ResNet(Network):
  """Strided convolutions and then residual blocks, mirrored in the decoder.

  z is a map of the smallest size, where each place sees its surroundings: height times width times the numbers at each
  place.

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
  images_only = makes_map = True

  def places(self) -> tuple[int, int]:
    """Returns height and width of the map.

    Raises:
      ConfigError: the image cannot be halved that often, or z does not fill its map.
    """
    height, width = self.halved(self.halvings, "halvings")
    if self.z_dim % (height * width):
      raise ConfigError(
        f"z_dim={self.z_dim} must be a multiple of the {height}x{width} places of its map; "
        f"take --.z_dim={self.z_dim + -self.z_dim % (height * width)}"
      )
    return height, width

  def residual(self, x: Array) -> Array:
    """Applies the residual blocks of one side."""
    for _ in range(self.blocks):
      x = ResidualBlock(self.hidden, self.dtype)(x)
    return x


class Encoder(ResNet):
  """q(z|x)."""

  @nn.compact
  def __call__(self, x: Array, given: Array | None, *, train: bool) -> Array:
    count, stats = math.prod(self.places()), self.num_stats(self.z_dim)
    x = with_planes(x, given)
    for _ in range(self.halvings):
      x = nn.relu(self.strided(Conv, self.width)(x))
    x = self.residual(Conv(self.width, (3, 3), dtype=self.dtype)(x))
    # [B, h, w, n D] with n statistics for each of D: all first ones, then all second ones, as for vectors.
    out = Conv(stats // count, (1, 1), dtype=self.dtype)(nn.relu(x).astype(jnp.float32)).astype(jnp.float32)
    kinds = jnp.split(out, stats // self.z_dim, axis=-1)
    return jnp.concatenate([kind.reshape(x.shape[0], -1) for kind in kinds], axis=-1)


class Decoder(ResNet):
  """p(x|z)."""

  @nn.compact
  def __call__(self, z: Latents, given: Array | None, *, train: bool) -> Array:
    (z,) = z
    z_map = z.reshape(z.shape[0], *self.places(), -1)
    x = self.residual(Conv(self.width, (3, 3), dtype=self.dtype)(with_planes(z_map, given)))
    for features in [self.width] * (self.halvings - 1) + [self.output_shape[-1]]:
      x = self.strided(ConvTranspose, features)(nn.relu(x))
    return x.astype(jnp.float32)
