"""The InfoGAN networks of gan/networks/infogan.py as encoder and decoder, for the VAE of Lucic et al. 2018."""

from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.layers.basic import with_planes
from common.layers.conv import Conv, ConvTranspose
from common.layers.normalization import BatchNorm
from common.types import Array, Latents

WEIGHTS = nn.initializers.normal(0.02)


class InfoGanNet(nn.Module):
  """Two halvings and a dense layer, mirrored in the decoder; LeakyReLU(0.2) on the way down, ReLU on the way up.

  BatchNorm as in the GANs: not after the first convolution and not at the output.

  Attributes:
    image_shape: (height, width, channels) of the data.
    num_stats: numbers that the posterior asks for, of the size of z.
    num_params: numbers a pixel and channel that the likelihood asks for.
    z_dim: size of z.
    width: channels of the outer convolution; twice as many of the inner.
    hidden: units of the dense layers.
    bn_momentum: of BatchNorm's running statistics, running = momentum * running + (1 - momentum) * batch.
    bn_epsilon: added to BatchNorm's variance.
    bn_axis_name: the device axis that BatchNorm is synchronised over, None for none.
    dtype: what convolutions compute in.
  """

  image_shape: tuple[int, int, int]
  num_stats: Callable[[int], int]
  num_params: int
  z_dim: int = 64
  width: int = 64
  hidden: int = 1024
  bn_momentum: float = 0.9
  bn_epsilon: float = 1e-5
  bn_axis_name: str | None = None
  dtype: str = "float32"
  lower_z_dims: ClassVar[tuple[int, ...]] = ()
  decoder_parts: ClassVar[tuple[str, ...]] = ("up", "decoder_", "output")

  def setup(self):
    height, width, channels = self.image_shape
    if height % 4 or width % 4:
      raise ConfigError(
        f"this network halves an image twice, which needs multiples of 4, not {height}x{width}; "
        f"set --config.data.image_size={max(height, width) + -max(height, width) % 4}"
      )
    self.base = (height // 4, width // 4, 2 * self.width)
    size = self.base[0] * self.base[1] * self.base[2]

    def layer(kind: type[nn.Module], features: int, use_bias: bool = False) -> nn.Module:
      return kind(features, (4, 4), strides=(2, 2), use_bias=use_bias, kernel_init=WEIGHTS, dtype=self.dtype)

    def dense(features: int) -> nn.Module:
      return nn.Dense(features, use_bias=False, kernel_init=WEIGHTS, dtype=self.dtype)

    def norm() -> nn.Module:
      return BatchNorm(momentum=self.bn_momentum, epsilon=self.bn_epsilon, axis_name=self.bn_axis_name)

    self.outer, self.inner, self.dense = (
      layer(Conv, self.width, use_bias=True),
      layer(Conv, 2 * self.width),
      dense(self.hidden),
    )
    self.encoder_norms = [norm(), norm()]
    self.stats = nn.Dense(self.num_stats(self.z_dim), kernel_init=WEIGHTS)
    self.up = [dense(self.hidden), dense(size), layer(ConvTranspose, self.width)]
    self.decoder_norms = [norm(), norm(), norm()]
    self.output = layer(ConvTranspose, channels * self.num_params, use_bias=True)

  def encode(self, x: Array, y: Array, *, train: bool) -> Array:
    x = nn.leaky_relu(self.outer(with_planes(x, y)), 0.2)
    x = nn.leaky_relu(self.encoder_norms[0](self.inner(x), train=train), 0.2)
    x = self.dense(x.reshape(x.shape[0], -1))
    return self.stats(nn.leaky_relu(self.encoder_norms[1](x, train=train), 0.2).astype(jnp.float32))

  def decode(self, z: Latents, y: Array, *, train: bool) -> Array:
    x = jnp.concatenate([*z, y], axis=-1)
    for i, (layer, norm) in enumerate(zip(self.up, self.decoder_norms, strict=True)):
      x = nn.relu(norm(layer(x), train=train))
      x = x.reshape(-1, *self.base) if i == 1 else x
    return self.output(x).astype(jnp.float32)
