"""Multilayer perceptrons on both sides (Kingma & Welling 2013, App. C: one hidden layer of tanh units)."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn import initializers

from common.build import choose
from common.errors import ConfigError
from common.layers.basic import ACTIVATIONS, with_values
from common.types import Array, Latents, PyTree
from vae.networks.network import Network

INITIALIZERS = {
  "lecun_normal": initializers.lecun_normal(),
  "glorot_uniform": initializers.glorot_uniform(),
  "normal": initializers.normal(0.01),
}


class MLP(Network):
  """Fully connected hidden layers on each side.

  Attributes:
    width: units of a hidden layer.
    layers: number of hidden layers on each side.
    activation: function of the hidden units: relu, tanh, softplus or leaky_relu.
    kernel_init: "lecun_normal", "glorot_uniform", or "normal" for the paper's N(0, 0.01).
    skip: whether the last layer of each side also sees that side's input, beside the hidden units (Dai & Wipf 2019).
    starts_at_mean: whether the output's biases start at the logit of the mean training image, for Bernoulli pixels.
  """

  width: int = 500
  layers: int = 1
  activation: str = "tanh"
  kernel_init: str = "lecun_normal"
  skip: bool = False
  starts_at_mean: bool = False

  def perceptron(self, x: Array, outputs: int) -> Array:
    """Applies the hidden layers and a linear one, [B, I] -> float32 [B, outputs]; for use in a compact method."""
    init = choose(INITIALIZERS, self.kernel_init, "config.model.kernel_init")
    activation = choose(ACTIVATIONS, self.activation, "config.model.activation")
    h = x
    for i in range(self.layers):
      h = activation(nn.Dense(self.width, kernel_init=init, dtype=self.dtype, name=f"layers_{i}")(h))
    h = jnp.concatenate([x, h], axis=-1) if self.skip else h
    return nn.Dense(outputs, kernel_init=init, dtype=self.dtype, name="out")(h).astype(jnp.float32)


class Encoder(MLP):
  """q(z|x)."""

  @nn.compact
  def __call__(self, x: Array, given: Array | None, *, train: bool) -> Array:
    return self.perceptron(with_values(x, given), self.num_stats(self.z_dim))


class Decoder(MLP):
  """p(x|z)."""

  @nn.compact
  def __call__(self, z: Latents, given: Array | None, *, train: bool) -> Array:
    if self.starts_at_mean and self.num_params != 1:
      raise ConfigError(
        "starts_at_mean=True sets one logit for each pixel, and config.likelihood takes "
        f"{self.num_params} numbers; set --.starts_at_mean=False"
      )
    x = with_values(jnp.concatenate(z, axis=-1), given)
    return self.perceptron(x, math.prod(self.output_shape)).reshape(-1, *self.output_shape)

  @staticmethod
  def start_at(params: PyTree, image: Array) -> PyTree:
    """Returns ``params`` with the output's biases at the logit of ``image``, clipped to [0.001, 0.999]."""
    bias = jax.scipy.special.logit(jnp.clip(image, 0.001, 0.999)).reshape(-1)
    return {**params, "out": {**params["out"], "bias": bias}}
