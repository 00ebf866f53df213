"""Two layers of latents over gated dense layers: the HVAE of Tomczak & Welling 2018 (arXiv:1705.07120, Section 4).

q(z2|x), q(z1|x, z2), p(z1|z2), p(x|z1, z2): a network of two inputs has one layer for each and one for both together.
The sizes are those of the public code of Exemplar VAE, where the layers of all parts have 300 units.
"""

import math

import flax.linen as nn
import jax.numpy as jnp

from common.layers.basic import with_values
from common.types import Array, Latents
from vae.networks.gated_mlp import GatedDense, Heads, Stack, dense, statistics
from vae.networks.network import Network


class Joint(nn.Module):
  """A gated layer of ``width`` units for each input, and one for all of them side by side."""

  width: int
  dtype: str = "float32"

  @nn.compact
  def __call__(self, *inputs: Array) -> Array:
    parts = [GatedDense(self.width, self.dtype)(x) for x in inputs]
    return GatedDense(self.width, self.dtype)(jnp.concatenate(parts, axis=-1))


class Hvae(Network):
  """z2 and z1 over gated dense layers.

  Attributes:
    lower_z_dim: size of z1.
    width: units of a dense layer.
  """

  lower_z_dim: int = 40
  width: int = 300

  @property
  def lower_z_dims(self) -> tuple[int, ...]:
    return (self.lower_z_dim,)


class Encoder(Hvae):
  """q(z2|x) and q(z1|x, z2)."""

  def setup(self) -> None:
    self.layers, self.out = Stack(self.width, 2, self.dtype), statistics(self, self.z_dim)
    self.joint, self.joint_out = Joint(self.width, self.dtype), statistics(self, self.lower_z_dim)

  def __call__(self, x: Array, given: Array | None, *, train: bool) -> Array:
    return self.out(self.layers(with_values(x, given)))

  def below(self, x: Array, given: Array | None, above: Latents, *, train: bool) -> Array:
    return self.joint_out(self.joint(with_values(x, given), *above))


class Decoder(Hvae):
  """p(z1|z2) and p(x|z1, z2)."""

  def setup(self) -> None:
    self.prior_layers = Stack(self.width, 2, self.dtype)
    self.prior_out = Heads((self.lower_z_dim, self.lower_z_dim), self.dtype)
    self.joint = Joint(self.width, self.dtype)
    self.out = dense(math.prod(self.output_shape), self.width, self.dtype)

  def prior_below(self, above: Latents) -> Array:
    return self.prior_out(self.prior_layers(jnp.concatenate(above, axis=-1)))

  def __call__(self, z: Latents, given: Array | None, *, train: bool) -> Array:
    z2, z1 = z
    h = self.joint(with_values(z1, given), z2)
    return self.out(h).astype(jnp.float32).reshape(-1, *self.output_shape)
