"""Two layers of latents over gated dense layers: the HVAE of Tomczak & Welling 2018 (arXiv:1705.07120, Section 4).

q(z2|x), q(z1|x, z2), p(z1|z2), p(x|z1, z2): what sees two inputs has a layer for each and one for both together.
As the public code of Exemplar VAE has it, where the layers of all parts have 300 units.
"""

import math
from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from common.types import Array, Latents
from vae.networks.gated_mlp import GatedDense, dense


class Heads(nn.Module):
  """Linear layers side by side, so that an optimizer that normalizes each array does not mix means and variances.

  Attributes:
    sizes: outputs of each.
    dtype: what the layers compute in.
  """

  sizes: tuple[int, ...]
  dtype: str = "float32"

  @nn.compact
  def __call__(self, h: Array) -> Array:
    parts = [dense(size, h.shape[-1], self.dtype)(h) for size in self.sizes if size]
    return jnp.concatenate(parts, axis=-1).astype(jnp.float32)


class Joint(nn.Module):
  """A gated layer for each input, and one for all of them side by side.

  Attributes:
    width: units of each.
    dtype: what the layers compute in.
  """

  width: int
  dtype: str = "float32"

  @nn.compact
  def __call__(self, *inputs: Array) -> Array:
    parts = [GatedDense(self.width, dtype=self.dtype)(x) for x in inputs]
    return GatedDense(self.width, dtype=self.dtype)(jnp.concatenate(parts, axis=-1))


class Stack(nn.Module):
  """Gated layers one after the other.

  Attributes:
    width: units of each.
    layers: how many.
    dtype: what the layers compute in.
  """

  width: int
  layers: int
  dtype: str = "float32"

  @nn.compact
  def __call__(self, h: Array) -> Array:
    for _ in range(self.layers):
      h = GatedDense(self.width, dtype=self.dtype)(h)
    return h


class Hvae(nn.Module):
  """z2 and z1 over gated dense layers.

  Attributes:
    image_shape: (height, width, channels) of the data.
    num_stats: numbers that the posterior asks for, of the size of a layer of z; of them the means are a layer and the
      rest another.
    num_params: numbers a pixel and channel that the likelihood asks for.
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
  decoder_parts: ClassVar[tuple[str, ...]] = ("decoder_",)

  @property
  def lower_z_dims(self) -> tuple[int, ...]:
    return (self.lower_z_dim,)

  def setup(self):
    def stats(z_dim: int) -> Heads:
      return Heads((z_dim, self.num_stats(z_dim) - z_dim), self.dtype)

    self.encoder_layers = Stack(self.width, 2, self.dtype)
    self.encoder_out = stats(self.z_dim)
    self.encoder_joint = Joint(self.width, self.dtype)
    self.encoder_joint_out = stats(self.lower_z_dim)
    self.prior_layers = Stack(self.width, 2, self.dtype)
    self.prior_out = Heads((self.lower_z_dim, self.lower_z_dim), self.dtype)
    self.decoder_joint = Joint(self.width, self.dtype)
    self.decoder_out = dense(math.prod(self.image_shape) * self.num_params, self.width, self.dtype)

  def _pixels(self, x: Array, y: Array) -> Array:
    return jnp.concatenate([x.reshape(x.shape[0], math.prod(self.image_shape)), y], axis=-1)

  def encode(self, x: Array, y: Array, *, train: bool) -> Array:
    return self.encoder_out(self.encoder_layers(self._pixels(x, y)))

  def encode_below(self, x: Array, y: Array, above: Latents, *, train: bool) -> Array:
    return self.encoder_joint_out(self.encoder_joint(self._pixels(x, y), *above))

  def prior_below(self, above: Latents, y: Array, *, train: bool) -> Array:
    return self.prior_out(self.prior_layers(jnp.concatenate([*above, y], axis=-1)))

  def decode(self, z: Latents, y: Array, *, train: bool) -> Array:
    z2, z1 = z
    h = self.decoder_joint(jnp.concatenate([z1, y], axis=-1), z2)
    height, width, channels = self.image_shape
    return self.decoder_out(h).astype(jnp.float32).reshape(-1, height, width, channels * self.num_params)
