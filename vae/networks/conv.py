"""Strided convolutions down to z and back, as DCGAN has them, with or without BatchNorm."""

from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.layers.basic import with_planes
from common.layers.conv import Conv, ConvTranspose
from common.layers.normalization import BatchNorm
from common.types import Array, Latents


class ConvNet(nn.Module):
  """Strided convolutions that halve the image, mirrored in the decoder.

  Attributes:
    image_shape: (height, width, channels) of the data.
    num_stats: numbers that the posterior asks for, of the size of z.
    num_params: numbers a pixel and channel that the likelihood asks for.
    z_dim: size of z.
    channels: after each halving of the image.
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
  lower_z_dims: ClassVar[tuple[int, ...]] = ()
  decoder_parts: ClassVar[tuple[str, ...]] = ("project", "up", "decoder_")

  def setup(self):
    height, width, image_channels = self.image_shape
    factor = 2 ** len(self.channels)
    if height % factor or width % factor:
      larger = max(height, width) + -max(height, width) % factor
      raise ConfigError(
        f"{len(self.channels)} halvings (channels={tuple(self.channels)}) need an image size that is a multiple of "
        f"{factor}, not {height}x{width}; set --config.data.image_size={larger}, or fewer channels"
      )
    self.base = (height // factor, width // factor, self.channels[-1])
    kernel = (self.kernel_size, self.kernel_size)

    def conv(kind: type[nn.Module], features: int, last: bool = False) -> nn.Module:
      return kind(features, kernel, strides=(2, 2), use_bias=last or not self.batch_norm, dtype=self.dtype)

    def norm() -> nn.Module:
      return BatchNorm(momentum=self.bn_momentum, epsilon=self.bn_epsilon, axis_name=self.bn_axis_name)

    count = len(self.channels)
    self.down = [conv(Conv, features) for features in self.channels]
    self.stats = nn.Dense(self.num_stats(self.z_dim))
    self.project = nn.Dense(self.base[0] * self.base[1] * self.base[2], use_bias=not self.batch_norm)
    up = [*reversed(self.channels[:-1]), image_channels * self.num_params]
    self.up = [conv(ConvTranspose, features, last=i == count - 1) for i, features in enumerate(up)]
    self.encoder_norms = [norm() for _ in range(count)] if self.batch_norm else []
    self.decoder_norms = [norm() for _ in range(count)] if self.batch_norm else []

  def encode(self, x: Array, y: Array, *, train: bool) -> Array:
    x = with_planes(x, y)
    for i, layer in enumerate(self.down):
      x = layer(x)
      x = nn.relu(self.encoder_norms[i](x, train=train) if self.batch_norm else x)
    return self.stats(x.reshape(x.shape[0], -1).astype(jnp.float32))

  def decode(self, z: Latents, y: Array, *, train: bool) -> Array:
    x = self.project(jnp.concatenate([*z, y], axis=-1)).reshape(-1, *self.base)
    for i, layer in enumerate(self.up):
      x = nn.relu(self.decoder_norms[i](x, train=train) if self.batch_norm else x)
      x = layer(x)
    return x.astype(jnp.float32)
