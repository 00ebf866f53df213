"""Multilayer perceptrons that widen towards the image in G and narrow from it in D: what most tutorials train.

As in the PyTorch-GAN collection's gan.py: LeakyReLU(0.2) throughout; BatchNorm after each hidden layer of G but the
first, with an epsilon of 0.8 (given where a momentum was meant, and trained by everybody since); no normalization in
D; PyTorch's initial weights and biases, U(-1/sqrt(n), 1/sqrt(n)) for n inputs.
"""

import dataclasses
import math

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.layers.basic import output_activation, symmetric_uniform
from common.layers.normalization import BatchNormed
from common.types import Array
from gan.networks.interface import DiscriminatorOutput, LabelHead


def _dense(x: Array, features: int, dtype: str, *, use_bias: bool = True) -> Array:
  init = symmetric_uniform(x.shape[-1] ** -0.5)
  return nn.Dense(features, use_bias=use_bias, kernel_init=init, bias_init=init, dtype=dtype)(x)


class Generator(BatchNormed):
  """z through ever wider layers to pixels, squashed into the pixel range, or linear for points.

  Attributes:
    widths: units of the hidden layers.
    slope: slope of LeakyReLU below 0.
  """

  takes_given = "class_batch_norm"
  image_shape: tuple[int, int, int]
  pixel_range: tuple[float, float]
  kind: str = "images"
  widths: tuple[int, ...] = (128, 256, 512, 1024)
  slope: float = 0.2
  dtype: str = "float32"
  _: dataclasses.KW_ONLY
  bn_epsilon: float = 0.8

  @nn.compact
  def __call__(self, z: Array, *, train: bool, given: Array | None = None) -> Array:
    """z [B, Z], and for conditional BatchNorm given [B, K] -> [B, H, W, C]."""
    if given is not None and len(self.widths) < 2:
      raise ConfigError(
        f"widths={self.widths} have no BatchNorm to take labels, which comes after each hidden layer but the first; "
        'take --.widths="(64, 64)", other widths, two or more, or --config.conditioning.generator=concat'
      )
    for layer, width in enumerate(self.widths):
      z = _dense(z, width, self.dtype, use_bias=layer == 0)  # BatchNorm would cancel the others
      if layer:
        z = self.norm(z, train=train, given=given)
      z = nn.leaky_relu(z, self.slope)
    x = _dense(z, math.prod(self.image_shape), self.dtype).reshape(-1, *self.image_shape).astype(jnp.float32)
    return x if self.kind == "points" else output_activation(x, self.pixel_range)


class Discriminator(nn.Module):
  """Pixels through ever narrower layers to one logit.

  Attributes:
    widths: units of the hidden layers.
    slope: slope of LeakyReLU below 0.
  """

  widths: tuple[int, ...] = (512, 256)
  slope: float = 0.2
  label_head: LabelHead = LabelHead()
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array, *, train: bool, keys: Array, given: Array | None = None) -> DiscriminatorOutput:
    """[B, H, W, C] -> logits [B]."""
    h = x.reshape(x.shape[0], -1)
    for width in self.widths:
      h = nn.leaky_relu(_dense(h, width, self.dtype), self.slope)
    h = h.astype(jnp.float32)
    logits = jnp.squeeze(_dense(h, 1, "float32"), -1)
    return self.label_head(logits, h, given, symmetric_uniform(h.shape[-1] ** -0.5))
