"""Residual networks down to z and back: vectors of z, and maps of it for codes.

Blocks are pre-activation ones without normalization (He et al. 2016), whose last convolution starts at 0.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.layers.basic import with_planes, with_values
from common.layers.conv import Conv, ConvTranspose
from common.types import Array, Latents


class ResidualBlock(nn.Module):
  """x + conv1x1(relu(conv3x3(relu(x)))), as in VQ-VAE (van den Oord et al. 2017, Section 4.1).

  Attributes:
    hidden: maps between the two convolutions.
    dtype: what convolutions compute in.
  """

  hidden: int
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array) -> Array:
    h = Conv(self.hidden, (3, 3), dtype=self.dtype)(nn.relu(x))
    last = Conv(x.shape[-1], (1, 1), kernel_init=nn.initializers.zeros_init(), dtype=self.dtype)
    return x + last(nn.relu(h)).astype(x.dtype)


class ResNet(nn.Module):
  """Strided convolutions with residual blocks after them, mirrored in the decoder.

  Attributes:
    image_shape: (height, width, channels) of the data.
    num_stats: from the size of z to the number of statistics that the posterior takes.
    num_params: numbers for each pixel and channel that the likelihood takes.
    z_dim: size of z; with ``maps``, height times width times the numbers at each place.
    width: maps of every layer.
    hidden: maps within a residual block.
    halvings: number of times that the image is halved.
    blocks: residual blocks on each side.
    maps: whether z is a map of the smallest size, where each place sees its surroundings, and not a vector.
    dtype: what convolutions compute in.
  """

  image_shape: tuple[int, int, int]
  num_stats: Callable[[int], int]
  num_params: int
  z_dim: int = 64
  width: int = 128
  hidden: int = 32
  halvings: int = 2
  blocks: int = 2
  maps: bool = False
  dtype: str = "float32"
  lower_z_dims = ()
  images_only = True

  def places(self) -> tuple[int, int]:
    """Height and width of the smallest maps.

    Raises:
      ConfigError: the image cannot be halved that often, or z does not fill its map.
    """
    height, width, _ = self.image_shape
    factor = 2**self.halvings
    if height % factor or width % factor:
      raise ConfigError(
        f"halvings={self.halvings} need an image size that is a multiple of {factor}, not {height}x{width}; "
        f"set --config.data.image_size={max(height, width) + -max(height, width) % factor}, or fewer halvings"
      )
    height, width = height // factor, width // factor
    if self.maps and self.z_dim % (height * width):
      raise ConfigError(
        f"z_dim={self.z_dim} must be a multiple of the {height}x{width} places of its map; "
        f"take --.z_dim={self.z_dim + -self.z_dim % (height * width)}"
      )
    return height, width

  def conv(self, kind: type[nn.Module], features: int) -> nn.Module:
    """A 4x4 convolution of stride 2."""
    return kind(features, (4, 4), strides=(2, 2), dtype=self.dtype)

  def residual(self, x: Array) -> Array:
    """The residual blocks of one side."""
    for _ in range(self.blocks):
      x = ResidualBlock(self.hidden, self.dtype)(x)
    return x


class Encoder(ResNet):
  """q(z|x)."""

  @nn.compact
  def __call__(self, x: Array, y: Array | None, *, train: bool) -> Array:
    count, stats = math.prod(self.places()), self.num_stats(self.z_dim)
    x = with_planes(x, y)
    for _ in range(self.halvings):
      x = nn.relu(self.conv(Conv, self.width)(x))
    x = self.residual(Conv(self.width, (3, 3), dtype=self.dtype)(x))
    x = nn.relu(x).astype(jnp.float32)
    if not self.maps:
      return nn.Dense(stats)(x.reshape(x.shape[0], -1))
    if stats % self.z_dim:
      raise ConfigError("maps=True needs a posterior with as many statistics for each number of z; set --.maps=False")
    # [B, h, w, n D] with n statistics for each of D: all first ones, then all second ones, as for vectors.
    out = Conv(stats // count, (1, 1), dtype=self.dtype)(x).astype(jnp.float32)
    kinds = jnp.split(out, stats // self.z_dim, axis=-1)
    return jnp.concatenate([kind.reshape(x.shape[0], -1) for kind in kinds], axis=-1)


class Decoder(ResNet):
  """p(x|z)."""

  @nn.compact
  def __call__(self, z: Latents, y: Array | None, *, train: bool) -> Array:
    (z,), places = z, self.places()
    if self.maps:
      x = Conv(self.width, (3, 3), dtype=self.dtype)(with_planes(z.reshape(z.shape[0], *places, -1), y))
    else:
      x = nn.Dense(math.prod(places) * self.width, dtype=self.dtype)(with_values(z, y))
      x = x.reshape(-1, *places, self.width)
    x = self.residual(x)
    for features in [self.width] * (self.halvings - 1) + [self.image_shape[-1] * self.num_params]:
      x = self.conv(ConvTranspose, features)(nn.relu(x))
    return x.astype(jnp.float32)
