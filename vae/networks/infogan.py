"""The InfoGAN networks of gan/networks/infogan.py as encoder and decoder, for the VAE of Lucic et al. 2018."""

import math

import flax.linen as nn
import jax.numpy as jnp

from common.layers.basic import with_planes, with_values
from common.layers.conv import Conv, ConvTranspose
from common.layers.normalization import BatchNormed
from common.types import Array, Latents
from vae.networks.network import Network

START = {"kernel_init": nn.initializers.normal(0.02)}
NO_BIAS = {**START, "use_bias": False}  # BatchNorm follows


class InfoGanNet(BatchNormed, Network):
  """Two halvings and a dense layer, mirrored in the decoder; LeakyReLU(0.2) in the encoder, ReLU in the decoder.

  As in the GANs, BatchNorm follows neither the first convolution nor the output.

  Attributes:
    width: channels of the outer convolution; the inner one has twice as many.
    hidden: units of the dense layers.
  """

  width: int = 64
  hidden: int = 1024
  images_only = True


class Encoder(InfoGanNet):
  """q(z|x)."""

  @nn.compact
  def __call__(self, x: Array, given: Array | None, *, train: bool) -> Array:
    x = nn.leaky_relu(self.strided(Conv, self.width, **START)(with_planes(x, given)), 0.2)
    x = nn.leaky_relu(self.norm(self.strided(Conv, 2 * self.width, **NO_BIAS)(x), train=train), 0.2)
    x = nn.Dense(self.hidden, dtype=self.dtype, **NO_BIAS)(x.reshape(x.shape[0], -1))
    x = nn.leaky_relu(self.norm(x, train=train), 0.2).astype(jnp.float32)
    return nn.Dense(self.num_stats(self.z_dim), name="stats", **START)(x)


class Decoder(InfoGanNet):
  """p(x|z)."""

  @nn.compact
  def __call__(self, z: Latents, given: Array | None, *, train: bool) -> Array:
    base = (*self.halved(2), 2 * self.width)
    x = with_values(jnp.concatenate(z, axis=-1), given)
    for units in (self.hidden, math.prod(base)):
      x = nn.relu(self.norm(nn.Dense(units, dtype=self.dtype, **NO_BIAS)(x), train=train))
    x = nn.relu(self.norm(self.strided(ConvTranspose, self.width, **NO_BIAS)(x.reshape(-1, *base)), train=train))
    return self.strided(ConvTranspose, self.output_shape[-1], **START)(x).astype(jnp.float32)
