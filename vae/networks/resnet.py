"""Residual networks down to z and back: vectors of z, and maps of it for codes.

Blocks are pre-activation ones without normalization (He et al. 2016), whose last convolution starts at 0.
"""

import math
from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.layers.basic import with_planes
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
    num_stats: numbers that the posterior asks for, of the size of z.
    num_params: numbers a pixel and channel that the likelihood asks for.
    z_dim: size of z; of maps, height times width times numbers a place.
    width: maps of every layer.
    hidden: maps within a residual block.
    halvings: how often the image is halved.
    blocks: residual blocks on each side.
    maps: whether z is a map of the smallest size, each place from its surroundings, and not a vector of the whole.
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
  lower_z_dims: ClassVar[tuple[int, ...]] = ()
  decoder_parts: ClassVar[tuple[str, ...]] = ("decoder_",)

  def setup(self):
    height, width, channels = self.image_shape
    factor = 2**self.halvings
    if height % factor or width % factor:
      raise ConfigError(
        f"halvings={self.halvings} need an image size that is a multiple of {factor}, not {height}x{width}; "
        f"set --config.data.image_size={max(height, width) + -max(height, width) % factor}, or fewer halvings"
      )
    self.places = (height // factor, width // factor)
    count = math.prod(self.places)
    if self.maps and self.z_dim % count:
      raise ConfigError(
        f"z_dim={self.z_dim} must be a multiple of the {self.places[0]}x{self.places[1]} places of its map; "
        f"take --.z_dim={self.z_dim + -self.z_dim % count}"
      )
    stats = self.num_stats(self.z_dim)
    if self.maps and stats % self.z_dim:
      raise ConfigError("maps=True is for posteriors that ask for as many numbers of each of z; set --.maps=False")

    def conv(kind: type[nn.Module], features: int) -> nn.Module:
      return kind(features, (4, 4), strides=(2, 2), dtype=self.dtype)

    self.encoder_down = [conv(Conv, self.width) for _ in range(self.halvings)]
    self.encoder_mix = Conv(self.width, (3, 3), dtype=self.dtype)
    self.encoder_blocks = [ResidualBlock(self.hidden, self.dtype) for _ in range(self.blocks)]
    self.encoder_out = Conv(stats // count, (1, 1), dtype=self.dtype) if self.maps else nn.Dense(stats)
    self.decoder_in = (
      Conv(self.width, (3, 3), dtype=self.dtype) if self.maps else nn.Dense(count * self.width, dtype=self.dtype)
    )
    self.decoder_blocks = [ResidualBlock(self.hidden, self.dtype) for _ in range(self.blocks)]
    up = [self.width] * (self.halvings - 1) + [channels * self.num_params]
    self.decoder_up = [conv(ConvTranspose, features) for features in up]

  def encode(self, x: Array, y: Array, *, train: bool) -> Array:
    x = with_planes(x, y)
    for layer in self.encoder_down:
      x = nn.relu(layer(x))
    x = self.encoder_mix(x)
    for block in self.encoder_blocks:
      x = block(x)
    x = nn.relu(x).astype(jnp.float32)
    if not self.maps:
      return self.encoder_out(x.reshape(x.shape[0], -1))
    # [B, h, w, n D] with n numbers for each of D: all first ones, then all second ones, as for vectors.
    out = self.encoder_out(x).astype(jnp.float32)
    kinds = self.num_stats(self.z_dim) // self.z_dim
    return jnp.concatenate([part.reshape(x.shape[0], -1) for part in jnp.split(out, kinds, axis=-1)], axis=-1)

  def decode(self, z: Latents, y: Array, *, train: bool) -> Array:
    (z,) = z
    if self.maps:
      x = self.decoder_in(with_planes(z.reshape(z.shape[0], *self.places, -1), y))
    else:
      x = self.decoder_in(jnp.concatenate([z, y], axis=-1)).reshape(-1, *self.places, self.width)
    for block in self.decoder_blocks:
      x = block(x)
    for layer in self.decoder_up:
      x = layer(nn.relu(x))
    return x.astype(jnp.float32)
