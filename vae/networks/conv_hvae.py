"""Two layers of latents over gated convolutions: the convHVAE of Tomczak & Welling 2018 (arXiv:1705.07120, Section 4).

As the public code of Exemplar VAE has it: encoders of gated convolutions that halve the image twice and end in 6 maps,
a decoder that makes an image of both latents and passes it through gated 3x3 convolutions. Dense kernels are from
N(0, 2 / inputs), all other weights PyTorch's, U(-1, 1) / sqrt(inputs of an output).
"""

import math
from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.layers.basic import symmetric_uniform, with_planes
from common.layers.conv import Conv
from common.types import Array, Latents
from vae.networks.gated_mlp import GatedDense
from vae.networks.hvae import Heads, Stack

MAPS = 6


class GatedConv(nn.Module):
  """A convolution whose output is gated by that of another, h = (x * W + b) sigmoid(x * V + c).

  Two of them, not one of twice the maps, for optimizers that look at one array at a time.

  Attributes:
    features: maps of the output.
    kernel_size: height and width of the kernels.
    stride: of both directions.
    dtype: what the layer computes in.
  """

  features: int
  kernel_size: int
  stride: int = 1
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array) -> Array:
    start = symmetric_uniform((self.kernel_size**2 * x.shape[-1]) ** -0.5)
    linear, gate = (
      Conv(
        self.features,
        self.kernel_size,
        self.stride,
        padding=self.kernel_size // 2,
        kernel_init=start,
        bias_init=start,
        dtype=self.dtype,
      )(x)
      for _ in range(2)
    )
    return linear * jax.nn.sigmoid(gate)


class GatedConvs(nn.Module):
  """Gated convolutions to `MAPS` maps of a quarter of the image's side, flat.

  Attributes:
    kernel_sizes: of the two at full size and half size before each halving.
    width: maps at half size; twice as many at a quarter.
    dtype: what the layers compute in.
  """

  kernel_sizes: tuple[int, int]
  width: int = 32
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array) -> Array:
    first, second = self.kernel_sizes
    for features, kernel_size, stride in (
      (self.width, first, 1),
      (self.width, 3, 2),
      (2 * self.width, second, 1),
      (2 * self.width, 3, 2),
      (MAPS, 3, 1),
    ):
      x = GatedConv(features, kernel_size, stride, self.dtype)(x)
    return x.reshape(x.shape[0], -1)


class ConvHvae(nn.Module):
  """z2 and z1 over gated convolutions.

  Attributes:
    image_shape: (height, width, channels) of the data.
    num_stats: numbers that the posterior asks for, of the size of a layer of z.
    num_params: numbers a pixel and channel that the likelihood asks for.
    z_dim: size of z2, the top.
    lower_z_dim: size of z1.
    width: units of a dense layer.
    channels: maps of the encoders' convolutions at half size; twice as many of the decoder's.
    dtype: what the layers compute in.
  """

  image_shape: tuple[int, int, int]
  num_stats: Callable[[int], int]
  num_params: int
  z_dim: int = 40
  lower_z_dim: int = 40
  width: int = 300
  channels: int = 32
  dtype: str = "float32"
  decoder_parts: ClassVar[tuple[str, ...]] = ("decoder_",)

  @property
  def lower_z_dims(self) -> tuple[int, ...]:
    return (self.lower_z_dim,)

  def setup(self):
    def stats(z_dim: int) -> Heads:
      return Heads((z_dim, self.num_stats(z_dim) - z_dim), self.dtype)

    self.encoder_convs = GatedConvs((7, 5), self.channels, self.dtype)
    self.encoder_out = stats(self.z_dim)
    self.encoder_joint_convs = GatedConvs((3, 3), self.channels, self.dtype)
    height, width, channels = self.image_shape
    self.encoder_above = GatedDense(MAPS * -(-height // 4) * -(-width // 4), self.dtype)
    self.encoder_joint = GatedDense(self.width, self.dtype)
    self.encoder_joint_out = stats(self.lower_z_dim)
    self.prior_layers = Stack(self.width, 2, self.dtype)
    self.prior_out = Heads((self.lower_z_dim, self.lower_z_dim), self.dtype)
    self.decoder_above = GatedDense(self.width, self.dtype)
    self.decoder_below = GatedDense(self.width, self.dtype)
    self.decoder_image = GatedDense(math.prod(self.image_shape), self.dtype)
    self.decoder_convs = [GatedConv(2 * self.channels, 3, 1, self.dtype) for _ in range(4)]
    start = symmetric_uniform((2 * self.channels) ** -0.5)
    self.decoder_out = Conv(channels * self.num_params, 1, kernel_init=start, bias_init=start, dtype=self.dtype)

  def encode(self, x: Array, y: Array, *, train: bool) -> Array:
    return self.encoder_out(self.encoder_convs(with_planes(x, y)))

  def encode_below(self, x: Array, y: Array, above: Latents, *, train: bool) -> Array:
    parts = [self.encoder_joint_convs(with_planes(x, y)), *map(self.encoder_above, above)]
    return self.encoder_joint_out(self.encoder_joint(jnp.concatenate(parts, axis=-1)))

  def prior_below(self, above: Latents, y: Array, *, train: bool) -> Array:
    return self.prior_out(self.prior_layers(jnp.concatenate([*above, y], axis=-1)))

  def decode(self, z: Latents, y: Array, *, train: bool) -> Array:
    z2, z1 = z
    parts = [self.decoder_below(jnp.concatenate([z1, y], axis=-1)), self.decoder_above(z2)]
    x = self.decoder_image(jnp.concatenate(parts, axis=-1)).reshape(-1, *self.image_shape)
    for layer in self.decoder_convs:
      x = layer(x)
    return self.decoder_out(x).astype(jnp.float32)
