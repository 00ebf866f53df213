"""The networks of DF-GAN (Tao et al. 2022, arXiv:2008.05865), at the sizes of DOUBLED.

As the authors' code (tobran/DF-GAN at code/models/GAN.py, 78f14fd) has them, but for the weights, which start from
LeCun's normal distribution and not from PyTorch's uniform one, and for the last convolution of D, which covers all of
the last map where images are not square. A doubling of the image is part of the convolution after it, which is the same
function, since what comes between works on each pixel alone.
"""

import math

import flax.linen as nn
import jax.numpy as jnp

from common.layers.basic import output_activation, with_planes, with_values
from common.layers.conv import Conv, double, halve
from common.types import Array
from gan.networks.interface import DOUBLED, DiscriminatorOutput, base_of, num_doublings

FULL = 8  # the largest multiple of the width
_ONES, _ZEROS = nn.initializers.ones_init(), nn.initializers.zeros_init()


class Affine(nn.Module):
  """gamma(y) x + beta(y) for each channel, x [B, h, w, C] and y [B, K] -> [B, h, w, C]; the identity at the start.

  gamma and beta are networks with one hidden layer of C units.
  """

  @nn.compact
  def __call__(self, x: Array, y: Array) -> Array:
    def network(name: str, start: nn.initializers.Initializer) -> Array:
      hidden = nn.relu(nn.Dense(x.shape[-1], name=f"{name}_hidden")(y))
      return nn.Dense(x.shape[-1], kernel_init=_ZEROS, bias_init=start, name=name)(hidden)[:, None, None, :]

    return (network("gamma", _ONES) * x + network("beta", _ZEROS)).astype(x.dtype)


class FusionBlock(nn.Module):
  """Doubles an image: x + conv(fuse(conv(fuse(x)))), where fuse is twice an `Affine` and a leaky ReLU.

  Attributes:
    features: channels of the result.
    dtype: number format in which convolutions compute.
  """

  features: int
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array, y: Array) -> Array:
    """[B, h, w, I] and y [B, K] -> [B, 2 h, 2 w, features]."""

    def fuse(h: Array) -> Array:
      for _ in range(2):
        h = nn.leaky_relu(Affine()(h, y), 0.2)
      return h

    residual = Conv(self.features, 3, resample="double", dtype=self.dtype)(fuse(x))
    residual = Conv(self.features, 3, dtype=self.dtype)(fuse(residual))
    if x.shape[-1] != self.features:
      x = Conv(self.features, 1, dtype=self.dtype)(x)
    return double(x) + residual


def _widths(width: int, doublings: int) -> list[int]:
  """Returns the channels from the full image to the base that is doubled to make it: width, 2 width, ... FULL width."""
  return [width * min(2**i, FULL) for i in range(doublings + 1)]


class Generator(nn.Module):
  """z to 4x4, doubled up to H x W by blocks in which z and the given values scale and shift every channel.

  Attributes:
    width: channels at the full size, twice as many at each smaller one, eight times at most.
  """

  takes_given = "fusion"
  sizes = DOUBLED
  image_shape: tuple[int, int, int]
  pixel_range: tuple[float, float]
  width: int = 32
  dtype: str = "float32"

  @nn.compact
  def __call__(self, z: Array, *, train: bool, given: Array | None = None) -> Array:
    """z [B, Z] and given [B, K] -> [B, H, W, C]."""
    doublings = num_doublings(self.image_shape)
    base = (*base_of(self.image_shape), _widths(self.width, doublings)[-1])
    x = nn.Dense(math.prod(base), dtype=self.dtype)(z).reshape(-1, *base)
    for features in reversed(_widths(self.width, doublings)[:-1]):
      x = FusionBlock(features, self.dtype)(x, with_values(z, given))
    x = nn.leaky_relu(x, 0.2)
    return output_activation(Conv(self.image_shape[-1], 3, dtype=self.dtype)(x).astype(jnp.float32), self.pixel_range)


class Discriminator(nn.Module):
  """H x W, halved to 4x4 by residual blocks; the given values stand beside every place of that map before the logit.

  Attributes:
    width: channels at the full size, twice as many at each smaller one, eight times at most.
  """

  takes_given = "joint"
  sizes = DOUBLED
  image_shape: tuple[int, int, int]
  width: int = 32
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array, *, train: bool, keys: Array, given: Array | None = None) -> DiscriminatorOutput:
    """[B, H, W, C] and given [B, K] -> logits [B]."""
    channels = _widths(self.width, num_doublings(self.image_shape))
    x = Conv(channels[0], 3, dtype=self.dtype)(x)
    for number, features in enumerate(channels[1:]):
      x = self._block(x, features, f"gate{number}")
    h = Conv(2 * self.width, 3, use_bias=False, dtype=self.dtype)(with_planes(x, given))
    h = nn.leaky_relu(h, 0.2)
    logits = Conv(1, h.shape[1:3], padding="VALID", use_bias=False)(h.astype(jnp.float32))
    return DiscriminatorOutput(logits=logits[:, 0, 0, 0], features=h.reshape(len(h), -1).astype(jnp.float32))

  def _block(self, x: Array, features: int, gate: str) -> Array:
    """Halves an image: x + gate * residual, whose gate is 0 at the start."""
    residual = nn.leaky_relu(Conv(features, 4, strides=2, padding=1, use_bias=False, dtype=self.dtype)(x), 0.2)
    residual = nn.leaky_relu(Conv(features, 3, use_bias=False, dtype=self.dtype)(residual), 0.2)
    x = halve(x)  # it commutes with the 1x1 convolution
    if x.shape[-1] != features:
      x = Conv(features, 1, dtype=self.dtype)(x)
    return x + (self.param(gate, nn.initializers.zeros_init(), ()) * residual).astype(x.dtype)
