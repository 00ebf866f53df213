"""Multilayer perceptrons on both sides (Kingma & Welling 2013, App. C: one hidden layer of tanh units)."""

import math

import flax.linen as nn
from jax.nn import initializers

from common.algorithm import Array
from common.build import choose
from common.layers import ACTIVATIONS

INITIALIZERS = {"lecun_normal": initializers.lecun_normal(), "normal": initializers.normal(0.01)}


class MLP(nn.Module):
  """Fully connected hidden layers on each side.

  Attributes:
    image_shape: (height, width, channels) of the data.
    num_stats: numbers that the posterior asks for.
    num_params: numbers a pixel and channel that the likelihood asks for.
    z_dim: size of z.
    width: units of a hidden layer.
    layers: number of hidden layers on each side.
    activation: of the hidden layers: relu, tanh, softplus or leaky_relu.
    kernel_init: "lecun_normal", or "normal" for the paper's N(0, 0.01).
  """

  image_shape: tuple[int, int, int]
  num_stats: int
  num_params: int
  z_dim: int = 20
  width: int = 500
  layers: int = 1
  activation: str = "tanh"
  kernel_init: str = "lecun_normal"

  def setup(self):
    init = choose(INITIALIZERS, self.kernel_init, "config.model.kernel_init")
    self.act = choose(ACTIVATIONS, self.activation, "config.model.activation")
    height, width, channels = self.image_shape
    self.encoder_layers = [nn.Dense(self.width, kernel_init=init) for _ in range(self.layers)]
    self.encoder_out = nn.Dense(self.num_stats, kernel_init=init)
    self.decoder_layers = [nn.Dense(self.width, kernel_init=init) for _ in range(self.layers)]
    self.decoder_out = nn.Dense(height * width * channels * self.num_params, kernel_init=init)

  def encode(self, x: Array, *, train: bool) -> Array:
    h = x.reshape(x.shape[0], math.prod(self.image_shape))
    for layer in self.encoder_layers:
      h = self.act(layer(h))
    return self.encoder_out(h)

  def decode(self, z: Array, *, train: bool) -> Array:
    h = z
    for layer in self.decoder_layers:
      h = self.act(layer(h))
    height, width, channels = self.image_shape
    return self.decoder_out(h).reshape(-1, height, width, channels * self.num_params)
