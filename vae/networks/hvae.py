"""Two layers of latents over gated dense layers: the HVAE of Tomczak & Welling 2018 (arXiv:1705.07120, Section 4).

q(z2|x), q(z1|x, z2), p(z1|z2), p(x|z1, z2): a network of two inputs has one layer for each and one for both together.
The sizes are those of the public code of Exemplar VAE, where the layers of all parts have 300 units.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from common.layers.basic import with_values
from common.types import Array, Latents
from vae.networks.gated_mlp import GatedDense, Heads, Stack, dense


class Joint(nn.Module):
  """A gated layer for each input, and one for all of them side by side.

  Attributes:
    width: units of each layer.
    dtype: what the layers compute in.
  """

  width: int
  dtype: str = "float32"

  @nn.compact
  def __call__(self, *inputs: Array) -> Array:
    parts = [GatedDense(self.width, self.dtype)(x) for x in inputs]
    return GatedDense(self.width, self.dtype)(jnp.concatenate(parts, axis=-1))


class Hvae(nn.Module):
  """z2 and z1 over gated dense layers.

  Attributes:
    image_shape: (height, width, channels) of the data.
    num_stats: from the size of a layer of z to the number of statistics that the posterior takes; the means are one
      array of weights and the rest another.
    num_params: numbers for each pixel and channel that the likelihood takes.
    z_dim: size of z2, the top.
    lower_z_dim: size of z1.
    width: units of a hidden layer.
    dtype: what the layers compute in.
  """

  image_shape: tuple[int, int, int]
  num_stats: Callable[[int], int]
  num_params: int
  z_dim: int = 40
  lower_z_dim: int = 40
  width: int = 300
  dtype: str = "float32"
  images_only = False

  @property
  def lower_z_dims(self) -> tuple[int, ...]:
    return (self.lower_z_dim,)


class Encoder(Hvae):
  """q(z2|x) and q(z1|x, z2)."""

  def setup(self):
    def stats(z_dim: int) -> Heads:
      return Heads((z_dim, self.num_stats(z_dim) - z_dim), self.dtype)

    self.layers, self.out = Stack(self.width, 2, self.dtype), stats(self.z_dim)
    self.joint, self.joint_out = Joint(self.width, self.dtype), stats(self.lower_z_dim)

  def __call__(self, x: Array, y: Array | None, *, train: bool) -> Array:
    return self.out(self.layers(with_values(x, y)))

  def below(self, x: Array, y: Array | None, above: Latents, *, train: bool) -> Array:
    return self.joint_out(self.joint(with_values(x, y), *above))


class Decoder(Hvae):
  """p(z1|z2) and p(x|z1, z2)."""

  def setup(self):
    self.prior_layers = Stack(self.width, 2, self.dtype)
    self.prior_out = Heads((self.lower_z_dim, self.lower_z_dim), self.dtype)
    self.joint = Joint(self.width, self.dtype)
    self.out = dense(math.prod(self.image_shape) * self.num_params, self.width, self.dtype)

  def prior_below(self, above: Latents) -> Array:
    return self.prior_out(self.prior_layers(jnp.concatenate(above, axis=-1)))

  def __call__(self, z: Latents, y: Array | None, *, train: bool) -> Array:
    z2, z1 = z
    h = self.joint(with_values(z1, y), z2)
    height, width, channels = self.image_shape
    return self.out(h).astype(jnp.float32).reshape(-1, height, width, channels * self.num_params)
