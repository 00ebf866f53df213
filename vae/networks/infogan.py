"""The InfoGAN networks of gan/networks/infogan.py as encoder and decoder, for the VAE of Lucic et al. 2018."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.layers.basic import with_planes, with_values
from common.layers.conv import Conv, ConvTranspose
from common.layers.normalization import BatchNorm
from common.types import Array, Latents

WEIGHTS = nn.initializers.normal(0.02)


class InfoGanNet(nn.Module):
  """Two halvings and a dense layer, mirrored in the decoder; LeakyReLU(0.2) on the way down, ReLU on the way up.

  BatchNorm as in the GANs: not after the first convolution and not at the output.

  Attributes:
    image_shape: (height, width, channels) of the data.
    num_stats: from the size of z to the number of statistics that the posterior takes.
    num_params: numbers for each pixel and channel that the likelihood takes.
    z_dim: size of z.
    width: channels of the outer convolution; the inner one has twice as many.
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
  lower_z_dims = ()
  images_only = True

  def conv(self, kind: type[nn.Module], features: int, use_bias: bool = False) -> nn.Module:
    """A 4x4 convolution of stride 2."""
    return kind(features, (4, 4), strides=(2, 2), use_bias=use_bias, kernel_init=WEIGHTS, dtype=self.dtype)

  def dense(self, features: int) -> nn.Module:
    """A linear layer without a bias, for BatchNorm to follow."""
    return nn.Dense(features, use_bias=False, kernel_init=WEIGHTS, dtype=self.dtype)

  def norm(self, x: Array, train: bool) -> Array:
    """BatchNorm."""
    layer = BatchNorm(momentum=self.bn_momentum, epsilon=self.bn_epsilon, axis_name=self.bn_axis_name)
    return layer(x, train=train)


class Encoder(InfoGanNet):
  """q(z|x)."""

  @nn.compact
  def __call__(self, x: Array, y: Array | None, *, train: bool) -> Array:
    x = nn.leaky_relu(self.conv(Conv, self.width, use_bias=True)(with_planes(x, y)), 0.2)
    x = nn.leaky_relu(self.norm(self.conv(Conv, 2 * self.width)(x), train), 0.2)
    x = nn.leaky_relu(self.norm(self.dense(self.hidden)(x.reshape(x.shape[0], -1)), train), 0.2)
    return nn.Dense(self.num_stats(self.z_dim), kernel_init=WEIGHTS, name="stats")(x.astype(jnp.float32))


class Decoder(InfoGanNet):
  """p(x|z)."""

  @nn.compact
  def __call__(self, z: Latents, y: Array | None, *, train: bool) -> Array:
    height, width, channels = self.image_shape
    if height % 4 or width % 4:
      raise ConfigError(
        f"this network halves an image twice, which needs multiples of 4, not {height}x{width}; "
        f"set --config.data.image_size={max(height, width) + -max(height, width) % 4}"
      )
    base = (height // 4, width // 4, 2 * self.width)
    x = nn.relu(self.norm(self.dense(self.hidden)(with_values(jnp.concatenate(z, axis=-1), y)), train))
    x = nn.relu(self.norm(self.dense(base[0] * base[1] * base[2])(x), train)).reshape(-1, *base)
    x = nn.relu(self.norm(self.conv(ConvTranspose, self.width)(x), train))
    return self.conv(ConvTranspose, channels * self.num_params, use_bias=True)(x).astype(jnp.float32)
