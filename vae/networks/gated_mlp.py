"""Multilayer perceptrons of gated linear units (Dauphin et al. 2017), as VampPrior and Exemplar VAE have them.

Tomczak & Welling 2018 (arXiv:1705.07120), Section 5; Norouzi et al. 2020 (arXiv:2004.04795), whose code draws kernels
from N(0, 2 / inputs) and biases as PyTorch does, from U(-1, 1) / sqrt(inputs).
"""

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.nn import initializers

from common.layers.basic import symmetric_uniform, with_values
from common.types import Array, Latents

HE_NORMAL = initializers.variance_scaling(2.0, "fan_in", "normal")


def dense(features: int, inputs: int, dtype: str, name: str | None = None) -> nn.Dense:
  """A linear layer whose weights start as the module's docstring says."""
  bias_init = symmetric_uniform(inputs**-0.5)
  return nn.Dense(features, kernel_init=HE_NORMAL, bias_init=bias_init, dtype=dtype, name=name)


class GatedDense(nn.Module):
  """h = (x W + b) * sigmoid(x V + c), [B, I] -> [B, features].

  W and V stay two parameters, for initializers and optimizers that look at one array at a time; the product is one.

  Attributes:
    features: number of outputs.
    dtype: what the layer computes in.
  """

  features: int
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array) -> Array:
    inputs = x.shape[-1]
    bias_init = symmetric_uniform(inputs**-0.5)
    kernels = [self.param(name, HE_NORMAL, (inputs, self.features)) for name in ("kernel", "gate_kernel")]
    biases = [self.param(name, bias_init, (self.features,)) for name in ("bias", "gate_bias")]
    kernel, bias = (jnp.concatenate(parts, axis=-1).astype(self.dtype) for parts in (kernels, biases))
    linear, gate = jnp.split(x.astype(self.dtype) @ kernel + bias, 2, axis=-1)
    return linear * nn.sigmoid(gate)


class Stack(nn.Module):
  """Gated layers one after the other.

  Attributes:
    width: units of each layer.
    layers: number of layers.
    dtype: what the layers compute in.
  """

  width: int
  layers: int
  dtype: str = "float32"

  @nn.compact
  def __call__(self, h: Array) -> Array:
    for _ in range(self.layers):
      h = GatedDense(self.width, self.dtype)(h)
    return h


class Heads(nn.Module):
  """Linear layers side by side, [B, I] -> float32 [B, sum of sizes].

  They are separate so that an optimizer that normalizes each array does not mix means and log-variances.

  Attributes:
    sizes: outputs of each layer; a size of 0 has no layer.
    dtype: what the layers compute in.
  """

  sizes: Sequence[int]
  dtype: str = "float32"

  @nn.compact
  def __call__(self, h: Array) -> Array:
    parts = [dense(size, h.shape[-1], self.dtype)(h) for size in self.sizes if size]
    return jnp.concatenate(parts, axis=-1).astype(jnp.float32)


class GatedMLP(nn.Module):
  """Fully connected gated layers on each side.

  Attributes:
    image_shape: (height, width, channels) of the data.
    num_stats: from the size of z to the number of statistics that the posterior takes.
    num_params: numbers for each pixel and channel that the likelihood takes.
    z_dim: size of z.
    width: units of a hidden layer.
    layers: number of hidden layers on each side.
    dtype: what the layers compute in.
  """

  image_shape: tuple[int, int, int]
  num_stats: Callable[[int], int]
  num_params: int
  z_dim: int = 40
  width: int = 300
  layers: int = 2
  dtype: str = "float32"
  lower_z_dims = ()
  images_only = False


class Encoder(GatedMLP):
  """q(z|x)."""

  @nn.compact
  def __call__(self, x: Array, y: Array | None, *, train: bool) -> Array:
    h = Stack(self.width, self.layers, self.dtype, name="hidden")(with_values(x, y))
    return Heads((self.z_dim, self.num_stats(self.z_dim) - self.z_dim), self.dtype, name="out")(h)


class Decoder(GatedMLP):
  """p(x|z)."""

  @nn.compact
  def __call__(self, z: Latents, y: Array | None, *, train: bool) -> Array:
    z_and_y = with_values(jnp.concatenate(z, axis=-1), y)
    h = Stack(self.width, self.layers, self.dtype, name="hidden")(z_and_y)
    out = dense(math.prod(self.image_shape) * self.num_params, h.shape[-1], self.dtype, name="out")(h)
    height, width, channels = self.image_shape
    return out.astype(jnp.float32).reshape(-1, height, width, channels * self.num_params)
