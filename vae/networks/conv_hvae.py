"""Two layers of latents over gated convolutions: the convHVAE of Tomczak & Welling 2018 (arXiv:1705.07120, Section 4).

The layers are those of the public code of Exemplar VAE: encoders of gated convolutions that halve the image twice and
end in 6 maps, and a decoder that makes an image of both latents and passes it through gated 3x3 convolutions. Dense
kernels start from N(0, 2 / inputs), all other weights as in PyTorch from U(-1, 1) / sqrt(inputs of an output).
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.layers.basic import symmetric_uniform, with_planes, with_values
from common.layers.conv import Conv
from common.types import Array, Latents
from vae.networks.gated_mlp import GatedDense, Heads, Stack, statistics
from vae.networks.hvae import Hvae

MAPS = 6


class GatedConv(nn.Module):
  """A convolution whose output is gated by that of another, h = (x * W + b) sigmoid(x * V + c).

  The two are separate layers, for optimizers that look at one array at a time.
  """

  features: int
  kernel_size: int
  stride: int = 1
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array) -> Array:
    start = symmetric_uniform((self.kernel_size**2 * x.shape[-1]) ** -0.5)
    settings = {"padding": self.kernel_size // 2, "kernel_init": start, "bias_init": start, "dtype": self.dtype}
    linear, gate = (Conv(self.features, self.kernel_size, self.stride, **settings)(x) for _ in range(2))
    return linear * jax.nn.sigmoid(gate)


class GatedConvs(nn.Module):
  """Gated convolutions to `MAPS` maps of a quarter of the image's side, flat.

  Attributes:
    kernel_sizes: kernel sizes of the convolutions at full and at half size that precede each halving.
    width: maps at half size; there are twice as many at a quarter.
    dtype: number format in which the layers compute.
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


class ConvHvae(Hvae):
  """z2 and z1 over gated convolutions.

  Attributes:
    channels: maps of the encoders' convolutions at half size; the decoder's have twice as many.
  """

  channels: int = 32
  images_only = True


class Encoder(ConvHvae):
  """q(z2|x) and q(z1|x, z2)."""

  def setup(self) -> None:
    height, width, _ = self.image_shape
    self.convs, self.out = GatedConvs((7, 5), self.channels, self.dtype), statistics(self, self.z_dim)
    self.joint_convs = GatedConvs((3, 3), self.channels, self.dtype)
    self.above = GatedDense(MAPS * -(-height // 4) * -(-width // 4), self.dtype)
    self.joint, self.joint_out = GatedDense(self.width, self.dtype), statistics(self, self.lower_z_dim)

  def __call__(self, x: Array, given: Array | None, *, train: bool) -> Array:
    return self.out(self.convs(with_planes(x, given)))

  def below(self, x: Array, given: Array | None, above: Latents, *, train: bool) -> Array:
    parts = [self.joint_convs(with_planes(x, given)), *map(self.above, above)]
    return self.joint_out(self.joint(jnp.concatenate(parts, axis=-1)))


class Decoder(ConvHvae):
  """p(z1|z2) and p(x|z1, z2)."""

  def setup(self) -> None:
    self.prior_layers = Stack(self.width, 2, self.dtype)
    self.prior_out = Heads((self.lower_z_dim, self.lower_z_dim), self.dtype)
    self.above, self.lower = GatedDense(self.width, self.dtype), GatedDense(self.width, self.dtype)
    self.image = GatedDense(math.prod(self.image_shape), self.dtype)
    self.convs = [GatedConv(2 * self.channels, 3, 1, self.dtype) for _ in range(4)]
    start = symmetric_uniform((2 * self.channels) ** -0.5)
    self.out = Conv(self.output_shape[-1], 1, kernel_init=start, bias_init=start, dtype=self.dtype)

  def prior_below(self, above: Latents) -> Array:
    return self.prior_out(self.prior_layers(jnp.concatenate(above, axis=-1)))

  def __call__(self, z: Latents, given: Array | None, *, train: bool) -> Array:
    z2, z1 = z
    parts = [self.lower(with_values(z1, given)), self.above(z2)]
    x = self.image(jnp.concatenate(parts, axis=-1)).reshape(-1, *self.image_shape)
    for layer in self.convs:
      x = layer(x)
    return self.out(x).astype(jnp.float32)
