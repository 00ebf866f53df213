"""Multilayer perceptrons of gated linear units (Dauphin et al. 2017), as VampPrior and Exemplar VAE have them.

Tomczak & Welling 2018 (arXiv:1705.07120), Section 5; Norouzi et al. 2020 (arXiv:2004.04795), whose code draws kernels
from N(0, 2 / inputs) and biases as PyTorch does, from U(-1, 1) / sqrt(inputs).
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.nn import initializers

from common.layers.basic import symmetric_uniform, with_values
from common.types import Array, Latents
from vae.networks.network import Network

HE_NORMAL = initializers.variance_scaling(2.0, "fan_in", "normal")


def dense(features: int, inputs: int, dtype: str, name: str | None = None) -> nn.Dense:
  """Returns a linear layer that starts as the module's docstring says."""
  bias_init = symmetric_uniform(inputs**-0.5)
  return nn.Dense(features, kernel_init=HE_NORMAL, bias_init=bias_init, dtype=dtype, name=name)


class GatedDense(nn.Module):
  """h = (x W + b) * sigmoid(x V + c), [B, I] -> [B, features].

  W and V stay two parameters, for initializers and optimizers that look at one array at a time; the product is one.
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
  """``layers`` gated layers of ``width`` units, one after the other."""

  width: int
  layers: int
  dtype: str = "float32"

  @nn.compact
  def __call__(self, h: Array) -> Array:
    for _ in range(self.layers):
      h = GatedDense(self.width, self.dtype)(h)
    return h


class Heads(nn.Module):
  """Linear layers side by side, one of each size that is not 0: [B, I] -> float32 [B, sum of sizes].

  They are separate so that an optimizer that normalizes each array does not mix means and log-variances.
  """

  sizes: Sequence[int]
  dtype: str = "float32"

  @nn.compact
  def __call__(self, h: Array) -> Array:
    parts = [dense(size, h.shape[-1], self.dtype)(h) for size in self.sizes if size]
    return jnp.concatenate(parts, axis=-1).astype(jnp.float32)


def statistics(network: Network, z_dim: int, name: str | None = None) -> Heads:
  """Returns the heads of a layer of z: one for the first statistic of each latent (the means), one for the rest."""
  return Heads((z_dim, network.num_stats(z_dim) - z_dim), network.dtype, name=name)


class GatedMLP(Network):
  """Fully connected gated layers on each side.

  Attributes:
    width: units of a hidden layer.
    layers: number of hidden layers on each side.
  """

  width: int = 300
  layers: int = 2


class Encoder(GatedMLP):
  """q(z|x)."""

  @nn.compact
  def __call__(self, x: Array, given: Array | None, *, train: bool) -> Array:
    h = Stack(self.width, self.layers, self.dtype, name="hidden")(with_values(x, given))
    return statistics(self, self.z_dim, name="out")(h)


class Decoder(GatedMLP):
  """p(x|z)."""

  @nn.compact
  def __call__(self, z: Latents, given: Array | None, *, train: bool) -> Array:
    z_and_given = with_values(jnp.concatenate(z, axis=-1), given)
    h = Stack(self.width, self.layers, self.dtype, name="hidden")(z_and_given)
    out = dense(math.prod(self.output_shape), h.shape[-1], self.dtype, name="out")(h)
    return out.astype(jnp.float32).reshape(-1, *self.output_shape)
