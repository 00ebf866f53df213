"""Multilayer perceptrons on both sides (Kingma & Welling 2013, App. C: one hidden layer of tanh units)."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn import initializers

from common.build import choose
from common.errors import ConfigError
from common.layers.basic import ACTIVATIONS
from common.types import Array, Latents, PyTree

INITIALIZERS = {
  "lecun_normal": initializers.lecun_normal(),
  "glorot_uniform": initializers.glorot_uniform(),
  "normal": initializers.normal(0.01),
}


class MLP(nn.Module):
  """Fully connected hidden layers on each side.

  Attributes:
    image_shape: (height, width, channels) of the data.
    num_stats: numbers that the posterior asks for, of the size of z.
    num_params: numbers a pixel and channel that the likelihood asks for.
    z_dim: size of z.
    width: units of a hidden layer.
    layers: number of hidden layers on each side.
    activation: of the hidden layers: relu, tanh, softplus or leaky_relu.
    kernel_init: "lecun_normal", "glorot_uniform", or "normal" for the paper's N(0, 0.01).
    skip: whether the last layer of each side sees that side's input too, beside the hidden units (Dai & Wipf 2019).
    starts_at_mean: whether the output's biases start at the logit of the mean training image, for Bernoulli pixels.
    dtype: what the layers compute in.
  """

  image_shape: tuple[int, int, int]
  num_stats: Callable[[int], int]
  num_params: int
  z_dim: int = 20
  width: int = 500
  layers: int = 1
  activation: str = "tanh"
  kernel_init: str = "lecun_normal"
  skip: bool = False
  starts_at_mean: bool = False
  dtype: str = "float32"
  lower_z_dims: ClassVar[tuple[int, ...]] = ()
  decoder_parts: ClassVar[tuple[str, ...]] = ("decoder_",)

  def setup(self):
    init = choose(INITIALIZERS, self.kernel_init, "config.model.kernel_init")
    self.act = choose(ACTIVATIONS, self.activation, "config.model.activation")
    if self.starts_at_mean and self.num_params != 1:
      raise ConfigError(
        "starts_at_mean=True is for one logit a pixel, and config.likelihood asks for "
        f"{self.num_params} numbers; set --.starts_at_mean=False"
      )
    height, width, channels = self.image_shape
    dense = functools.partial(nn.Dense, kernel_init=init, dtype=self.dtype)
    self.encoder_layers = [dense(self.width) for _ in range(self.layers)]
    self.encoder_out = dense(self.num_stats(self.z_dim))
    self.decoder_layers = [dense(self.width) for _ in range(self.layers)]
    self.decoder_out = dense(height * width * channels * self.num_params)

  def encode(self, x: Array, y: Array, *, train: bool) -> Array:
    x = jnp.concatenate([x.reshape(x.shape[0], math.prod(self.image_shape)), y], axis=-1)
    return self.encoder_out(self._hidden(self.encoder_layers, x)).astype(jnp.float32)

  def decode(self, z: Latents, y: Array, *, train: bool) -> Array:
    height, width, channels = self.image_shape
    params = self.decoder_out(self._hidden(self.decoder_layers, jnp.concatenate([*z, y], axis=-1))).astype(jnp.float32)
    return params.reshape(-1, height, width, channels * self.num_params)

  @staticmethod
  def start_at(params: PyTree, image: Array) -> PyTree:
    """``params`` with the output's biases at the logit of ``image``, which is clipped to [0.001, 0.999]."""
    bias = jax.scipy.special.logit(jnp.clip(image, 0.001, 0.999)).reshape(-1)
    return {**params, "decoder_out": {**params["decoder_out"], "bias": bias}}

  def _hidden(self, layers: Sequence[nn.Dense], x: Array) -> Array:
    h = x
    for layer in layers:
      h = self.act(layer(h))
    return jnp.concatenate([x, h], axis=-1) if self.skip else h
