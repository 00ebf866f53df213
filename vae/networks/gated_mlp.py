"""Multilayer perceptrons of gated linear units (Dauphin et al. 2017), as VampPrior and Exemplar VAE have them.

Tomczak & Welling 2018 (arXiv:1705.07120), Section 5; Norouzi et al. 2020 (arXiv:2004.04795), whose code has kernels
from N(0, 2 / inputs) and PyTorch's biases, U(-1, 1) / sqrt(inputs).
"""

import math
from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax.nn import initializers

from common.layers.basic import symmetric_uniform
from common.types import Array, Latents

HE_NORMAL = initializers.variance_scaling(2.0, "fan_in", "normal")


def dense(features: int, inputs: int, dtype: str) -> nn.Dense:
  """A linear layer with the weights of the module's docstring."""
  return nn.Dense(features, kernel_init=HE_NORMAL, bias_init=symmetric_uniform(inputs**-0.5), dtype=dtype)


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


class GatedMLP(nn.Module):
  """Fully connected gated layers on each side.

  Attributes:
    image_shape: (height, width, channels) of the data.
    num_stats: numbers that the posterior asks for, of the size of z; the first z_dim are a layer and the rest another.
    num_params: numbers a pixel and channel that the likelihood asks for.
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
  lower_z_dims: ClassVar[tuple[int, ...]] = ()
  decoder_parts: ClassVar[tuple[str, ...]] = ("decoder_",)

  def setup(self):
    pixels = math.prod(self.image_shape)
    self.encoder_layers = [GatedDense(self.width, dtype=self.dtype) for _ in range(self.layers)]
    inputs = self.width if self.layers else pixels
    # Two, so that an optimizer that normalizes each array by itself does not mix means and variances.
    sizes = [size for size in (self.z_dim, self.num_stats(self.z_dim) - self.z_dim) if size]
    self.encoder_out = [dense(size, inputs, self.dtype) for size in sizes]
    self.decoder_layers = [GatedDense(self.width, dtype=self.dtype) for _ in range(self.layers)]
    self.decoder_out = dense(pixels * self.num_params, self.width if self.layers else self.z_dim, self.dtype)

  def encode(self, x: Array, y: Array, *, train: bool) -> Array:
    h = jnp.concatenate([x.reshape(x.shape[0], math.prod(self.image_shape)), y], axis=-1)
    for layer in self.encoder_layers:
      h = layer(h)
    return jnp.concatenate([out(h) for out in self.encoder_out], axis=-1).astype(jnp.float32)

  def decode(self, z: Latents, y: Array, *, train: bool) -> Array:
    h = jnp.concatenate([*z, y], axis=-1)
    for layer in self.decoder_layers:
      h = layer(h)
    height, width, channels = self.image_shape
    return self.decoder_out(h).astype(jnp.float32).reshape(-1, height, width, channels * self.num_params)
