"""A convolutional network of random weights as an embedding: for pictures far from any set that a network was trained
on, such features rank samples more fairly than ImageNet's (Naeem et al. 2020, Section 5.2, with VGG-16)."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from common.layers.conv import Conv
from common.types import Array, PyTree

CHANNELS = (64, 128, 256)
FEATURES = 64


class RandomNetwork(nn.Module):
  """3x3 convolutions of stride 2 with ReLU, then a dense layer: [B, H, W, C] in [-1, 1] -> [B, FEATURES]."""

  @nn.compact
  def __call__(self, x: Array) -> Array:
    for channels in CHANNELS:
      x = nn.relu(Conv(channels, (3, 3), strides=(2, 2), padding="SAME", use_bias=False)(x))
    return nn.Dense(FEATURES, use_bias=False, precision=lax.Precision.HIGHEST)(x.reshape(len(x), -1))


def random_network(
  image_shape: tuple[int, int, int], *, seed: int
) -> tuple[PyTree, Callable[[PyTree, Array], tuple[Array, None]]]:
  """Weights N(0, 2 / fan_in) (He et al. 2015), drawn by NumPy so that they stay the same, and the function of them.

  Returns:
    variables, and (variables, uint8 [B, *image_shape]) -> (features [B, 64], None).
  """
  generator = np.random.Generator(np.random.Philox(seed))
  params: dict[str, Any] = {}
  height, width, depth = image_shape
  for i, channels in enumerate(CHANNELS):
    params[f"Conv_{i}"] = {"kernel": _he(generator, (3, 3, depth, channels))}
    height, width, depth = -(-height // 2), -(-width // 2), channels
  params["Dense_0"] = {"kernel": _he(generator, (height * width * depth, FEATURES))}
  network = RandomNetwork()

  def apply(variables: PyTree, images: Array) -> tuple[Array, None]:
    return network.apply(variables, images.astype(jnp.float32) / 127.5 - 1.0), None

  return {"params": params}, apply


def _he(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
  fan_in = np.prod(shape[:-1])
  return (generator.standard_normal(shape) * np.sqrt(2.0 / fan_in)).astype(np.float32)
