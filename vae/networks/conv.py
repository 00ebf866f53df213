"""Strided convolutions down to z and back, as in DCGAN, with or without BatchNorm."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.layers.basic import with_planes, with_values
from common.layers.conv import Conv, ConvTranspose
from common.layers.normalization import BatchNorm
from common.types import Array, Latents


class ConvNet(nn.Module):
  """Strided convolutions that halve the image, mirrored in the decoder.

  Attributes:
    image_shape: (height, width, channels) of the data.
    num_stats: from the size of z to the number of statistics that the posterior takes.
    num_params: numbers for each pixel and channel that the likelihood takes.
    z_dim: size of z.
    channels: channels after each halving of the image.
    kernel_size: height and width of the kernels.
    batch_norm: whether BatchNorm follows each convolution but the last.
    bn_momentum: of BatchNorm's running statistics, running = momentum * running + (1 - momentum) * batch.
    bn_epsilon: added to BatchNorm's variance.
    bn_axis_name: the device axis that BatchNorm is synchronised over, None for none.
    dtype: what convolutions compute in.
  """

  image_shape: tuple[int, int, int]
  num_stats: Callable[[int], int]
  num_params: int
  z_dim: int = 20
  channels: tuple[int, ...] = (32, 64)
  kernel_size: int = 4
  batch_norm: bool = False
  bn_momentum: float = 0.9
  bn_epsilon: float = 1e-5
  bn_axis_name: str | None = None
  dtype: str = "float32"
  lower_z_dims = ()
  images_only = True

  def conv(self, kind: type[nn.Module], features: int, use_bias: bool) -> nn.Module:
    """A convolution of stride 2."""
    kernel = (self.kernel_size, self.kernel_size)
    return kind(features, kernel, strides=(2, 2), use_bias=use_bias, dtype=self.dtype)

  def activate(self, x: Array, train: bool) -> Array:
    """BatchNorm, where there is any, and ReLU."""
    if self.batch_norm:
      norm = BatchNorm(momentum=self.bn_momentum, epsilon=self.bn_epsilon, axis_name=self.bn_axis_name)
      x = norm(x, train=train)
    return nn.relu(x)


class Encoder(ConvNet):
  """q(z|x)."""

  @nn.compact
  def __call__(self, x: Array, y: Array | None, *, train: bool) -> Array:
    x = with_planes(x, y)
    for features in self.channels:
      x = self.activate(self.conv(Conv, features, use_bias=not self.batch_norm)(x), train)
    return nn.Dense(self.num_stats(self.z_dim), name="stats")(x.reshape(x.shape[0], -1).astype(jnp.float32))


class Decoder(ConvNet):
  """p(x|z)."""

  @nn.compact
  def __call__(self, z: Latents, y: Array | None, *, train: bool) -> Array:
    height, width, image_channels = self.image_shape
    factor = 2 ** len(self.channels)
    if height % factor or width % factor:
      larger = max(height, width) + -max(height, width) % factor
      raise ConfigError(
        f"{len(self.channels)} halvings (channels={tuple(self.channels)}) need an image size that is a multiple of "
        f"{factor}, not {height}x{width}; set --config.data.image_size={larger}, or fewer channels"
      )
    base = (height // factor, width // factor, self.channels[-1])
    project = nn.Dense(base[0] * base[1] * base[2], use_bias=not self.batch_norm, name="project")
    x = project(with_values(jnp.concatenate(z, axis=-1), y)).reshape(-1, *base)
    for features in reversed(self.channels[:-1]):
      x = self.conv(ConvTranspose, features, use_bias=not self.batch_norm)(self.activate(x, train))
    x = self.conv(ConvTranspose, image_channels * self.num_params, use_bias=True)(self.activate(x, train))
    return x.astype(jnp.float32)
