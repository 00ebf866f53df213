"""Strided convolutions down to z and back, as in DCGAN, with or without BatchNorm."""

import math

import flax.linen as nn
import jax.numpy as jnp

from common.layers.basic import with_planes, with_values
from common.layers.conv import Conv, ConvTranspose
from common.layers.normalization import BatchNormed
from common.types import Array, Latents
from vae.networks.network import Network


class ConvNet(BatchNormed, Network):
  """4x4 convolutions with ReLU that halve the image, mirrored in the decoder.

  Attributes:
    channels: channels after each halving of the image.
    batch_norm: whether BatchNorm follows each convolution but the last.
  """

  channels: tuple[int, ...] = (32, 64)
  batch_norm: bool = False
  images_only = True

  def activate(self, x: Array, train: bool) -> Array:
    """Applies BatchNorm, if there is any, and ReLU."""
    return nn.relu(self.norm(x, train=train) if self.batch_norm else x)


class Encoder(ConvNet):
  """q(z|x)."""

  @nn.compact
  def __call__(self, x: Array, given: Array | None, *, train: bool) -> Array:
    x = with_planes(x, given)
    for features in self.channels:
      x = self.activate(self.strided(Conv, features, use_bias=not self.batch_norm)(x), train)
    return nn.Dense(self.num_stats(self.z_dim), name="stats")(x.reshape(x.shape[0], -1).astype(jnp.float32))


class Decoder(ConvNet):
  """p(x|z)."""

  @nn.compact
  def __call__(self, z: Latents, given: Array | None, *, train: bool) -> Array:
    base, bias = (*self.halved(len(self.channels), "channels"), self.channels[-1]), not self.batch_norm
    x = nn.Dense(math.prod(base), use_bias=bias, name="project")(with_values(jnp.concatenate(z, axis=-1), given))
    x = x.reshape(-1, *base)
    for features in reversed(self.channels[:-1]):
      x = self.strided(ConvTranspose, features, use_bias=bias)(self.activate(x, train))
    return self.strided(ConvTranspose, self.output_shape[-1])(self.activate(x, train)).astype(jnp.float32)
