"""The multilayer perceptrons of Goodfellow et al. 2014 (arXiv:1406.2661): rectifiers in G, maxout and dropout in D."""

import math

import flax.linen as nn
import jax.numpy as jnp

from common.layers.basic import Dropout, Maxout, output_activation, symmetric_uniform
from common.types import Array
from gan.networks.interface import DiscriminatorOutput, LabelHead


class Generator(nn.Module):
  """Rectified layers from z to pixels; the output is squashed into the pixel range, or linear for points.

  Attributes:
    width: units of a hidden layer.
    layers: number of hidden layers.
    init_range: weights start from U(-init_range, init_range), biases at 0.
  """

  image_shape: tuple[int, int, int]
  pixel_range: tuple[float, float]
  kind: str = "images"
  width: int = 1200
  layers: int = 2
  init_range: float = 0.05
  dtype: str = "float32"

  @nn.compact
  def __call__(self, z: Array, *, train: bool) -> Array:
    """[B, Z] -> [B, H, W, C]."""
    init = symmetric_uniform(self.init_range)
    for _ in range(self.layers):
      z = nn.relu(nn.Dense(self.width, kernel_init=init, dtype=self.dtype)(z))
    x = nn.Dense(math.prod(self.image_shape), kernel_init=init, dtype=self.dtype)(z)
    x = x.reshape(-1, *self.image_shape).astype(jnp.float32)
    return x if self.kind == "points" else output_activation(x, self.pixel_range)


class Discriminator(nn.Module):
  """Maxout layers with dropout on the input and after each of them.

  Attributes:
    width: units of a hidden layer.
    pieces: affine maps of which a maxout unit takes the largest.
    layers: number of hidden layers.
    input_dropout: share of the pixels that are set to 0 in training.
    hidden_dropout: share of a layer's units that are set to 0 in training.
    init_range: weights start from U(-init_range, init_range), biases at 0.
  """

  width: int = 240
  pieces: int = 5
  layers: int = 2
  input_dropout: float = 0.2
  hidden_dropout: float = 0.5
  init_range: float = 0.005
  label_head: LabelHead = LabelHead()
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array, *, train: bool, keys: Array, given: Array | None = None) -> DiscriminatorOutput:
    """[B, H, W, C], keys [B] -> logits [B]."""
    init = symmetric_uniform(self.init_range)
    h = Dropout(self.input_dropout)(x.reshape(x.shape[0], -1), keys, train=train)
    for _ in range(self.layers):
      h = Maxout(self.width, self.pieces, kernel_init=init, dtype=self.dtype)(h)
      h = Dropout(self.hidden_dropout)(h, keys, train=train)
    h = h.astype(jnp.float32)
    logits = nn.Dense(1, kernel_init=init)(h)
    return self.label_head(jnp.squeeze(logits, -1), h, given, init)
