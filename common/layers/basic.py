"""Layers that Flax lacks, or that must draw by row."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from common import random
from common.errors import ConfigError
from common.types import Array

Initializer = Callable[..., Array]


def with_values(x: Array, y: Array | None) -> Array:
  """x flattened, with the values y [B, K] beside it unless they are None: [B, ...] -> [B, D + K]."""
  flat = x.reshape(x.shape[0], math.prod(x.shape[1:]))
  return flat if y is None else jnp.concatenate([flat, y], axis=-1)


def with_planes(x: Array, y: Array | None) -> Array:
  """Values [B, K] as constant feature maps beside x, [B, H, W, C] -> [B, H, W, C + K]; None adds none."""
  if y is None:
    return x
  return jnp.concatenate([x, jnp.broadcast_to(y[:, None, None, :], (*x.shape[:3], y.shape[-1]))], axis=-1)


class Dropout(nn.Module):
  """Zeroes each value with probability ``rate`` and divides the others by 1 - rate (Srivastava et al. 2014, inverted).

  Row i's mask depends on keys[i] and on the module's path in the network only: not on the rest of the batch or on the
  number of devices, and different layers have different masks. Two calls of a layer with the same keys use one mask.

  Attributes:
    rate: probability of a zero, 0 <= rate < 1.
  """

  rate: float

  @nn.compact
  def __call__(self, x: Array, keys: Array, *, train: bool) -> Array:
    """Maps x [B, ...] and keys [B] to [B, ...]; returns x unless ``train``."""
    if not 0.0 <= self.rate < 1.0:
      raise ConfigError(f"a dropout of {self.rate} is not in [0, 1)")
    if not train or self.rate == 0.0:
      return x
    keep = 1.0 - self.rate
    keys = jax.vmap(lambda key: random.stream(key, "/".join(self.path)))(keys)
    mask = random.uniform(keys, x.shape[1:]) < keep
    return jnp.where(mask, x / keep, 0.0)


class Maxout(nn.Module):
  """y_i = max_j (x W_j + b_j)_i over ``pieces`` affine maps, [..., I] -> [..., features] (Goodfellow et al. 2013).

  Attributes:
    features: number of outputs.
    pieces: number of affine maps per output.
    kernel_init: initializer of the kernel [I, pieces * features].
    bias_init: initializer of the bias [pieces * features].
    dtype: dtype of the computation; None takes the widest of input and parameters, which are float32.
  """

  features: int
  pieces: int
  kernel_init: Initializer = nn.initializers.lecun_normal()
  bias_init: Initializer = nn.initializers.zeros_init()
  dtype: Any = None

  @nn.compact
  def __call__(self, x: Array) -> Array:
    dense = nn.Dense(
      self.pieces * self.features, kernel_init=self.kernel_init, bias_init=self.bias_init, dtype=self.dtype
    )
    pieces = dense(x).reshape(*x.shape[:-1], self.pieces, self.features)
    return jnp.max(pieces, axis=-2)


ACTIVATIONS = {
  "relu": nn.relu,
  "tanh": jnp.tanh,
  "softplus": nn.softplus,
  "leaky_relu": lambda x: nn.leaky_relu(x, 0.2),
}


def output_activation(x: Array, pixel_range: tuple[float, float]) -> Array:
  """Squashes real numbers into the pixel range, by tanh into (-1, 1), by a sigmoid into (0, 1)."""
  low, high = pixel_range
  return jnp.tanh(x) if low < 0 else low + (high - low) * nn.sigmoid(x)


def symmetric_uniform(limit: float) -> Initializer:
  """Returns an initializer that samples U(-limit, limit)."""

  def init(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
    return jax.random.uniform(key, shape, dtype, -limit, limit)

  return init
