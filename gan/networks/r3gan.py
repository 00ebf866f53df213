"""The networks of R3GAN (Huang et al. 2024, arXiv:2501.05441), at the sizes of DOUBLED.

Residual blocks without normalization: y = x + W_3 f(W_2 f(W_1 x)) with W_1 a 1x1 convolution to ``expansion`` times the
channels, W_2 a grouped 3x3 one, W_3 a 1x1 one back that starts at 0, and f(h) = LeakyReLU(h + bias, 0.2). W_1 and W_2
start from N(0, gain^2 / fan in) with gain = sqrt(2 / 1.04) L^(-1/4), L the number of blocks, as Fixup has it (Zhang et
al. 2019), so that no normalization is needed. G starts from a learned 4x4 picture a channel (another size of a base for
other images), times a linear map of z, and ends without an activation; D ends in a depth-wise 4x4 convolution and a
linear map, without biases. The image is doubled and halved by the filter [1, 2, 1] * [1, 1] = [1, 3, 3, 1], which is
bilinear. Stages are of one width, as the authors have them for CIFAR-10 and ImageNet 32x32, up to a size from which
each doubling halves the width and with it the number of groups, as they have it for FFHQ at 64x64 and 256x256; there a
1x1 convolution on the smaller image joins the two.

With labels, G has an embedding of them beside z, and D's logit is the inner product of its features and an embedding.
"""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.errors import ConfigError
from common.layers.conv import Conv
from common.types import Array
from gan.networks.interface import DOUBLED, DiscriminatorOutput, LabelHead, base_of, num_doublings

SLOPE = 0.2  # of LeakyReLU below 0
LINEAR = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


def smooth_double(x: Array) -> Array:
  """[B, H, W, C] -> [B, 2H, 2W, C]: zeros between the pixels, then [1, 3, 3, 1] / 4 along each axis; zeros outside."""

  def along(x: Array, axis: int) -> Array:
    before, after = _neighbours(x, axis)
    pair = jnp.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis=axis + 1)
    return pair.reshape(*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])

  return along(along(x, 1), 2)


def smooth_halve(x: Array) -> Array:
  """[B, H, W, C] -> [B, H/2, W/2, C]: [1, 3, 3, 1] / 8 along each axis, then each second; zeros outside."""

  def along(x: Array, axis: int) -> Array:
    pair = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
    even, odd = jnp.take(pair, 0, axis + 1), jnp.take(pair, 1, axis + 1)
    return 0.125 * (_neighbours(odd, axis)[0] + _neighbours(even, axis)[1]) + 0.375 * (even + odd)

  return along(along(x, 1), 2)


def _neighbours(x: Array, axis: int) -> tuple[Array, Array]:
  """For each place along ``axis`` the value before it and that after it, 0 outside."""
  pad = [(0, 0)] * x.ndim
  pad[axis] = (1, 1)
  wide, size = jnp.pad(x, pad), x.shape[axis]
  before, after = (jax.lax.slice_in_dim(wide, start, start + size, axis=axis) for start in (0, 2))
  return before, after


class Stage(NamedTuple):
  """Pixels along the shorter side, channels, and groups of the blocks' 3x3 convolutions."""

  size: int
  width: int
  cardinality: int


def stages_of(image_shape: tuple[int, int, int], width: int, cardinality: int, wide_to: int) -> list[Stage]:
  """From 4x4 up: ``width`` and ``cardinality`` up to the size ``wide_to``, halved with each doubling beyond.

  Raises:
    ConfigError: ``wide_to`` is below 4, or too low for a width and a cardinality that are to be halved.
  """
  if wide_to < 4:
    raise ConfigError(f"wide_to={wide_to} must be 4 or more: the first stage is of 4x4 pixels")
  sizes = [min(base_of(image_shape)) * 2**i for i in range(num_doublings(image_shape) + 1)]
  parts = [max(1, size // wide_to) for size in sizes]
  least = math.lcm(*parts)  # of a wide_to that is no power of two, more than the last one
  if width % least or cardinality % least:
    raise ConfigError(
      f"width={width} and cardinality={cardinality} are to be divided by {', '.join(map(str, parts))} from 4 to "
      f"{sizes[-1]} pixels, since wide_to={wide_to}; take multiples of {least}, or --.wide_to={sizes[-1]}"
    )
  return [Stage(size, width // part, cardinality // part) for size, part in zip(sizes, parts, strict=True)]


class Block(nn.Module):
  """One residual block; the identity at the start.

  Attributes:
    blocks: L, the number of blocks in the whole network.
    expansion: inner channels, in multiples of the outer.
    cardinality: groups of the 3x3 convolution.
    dtype: number format in which convolutions compute.
  """

  blocks: int
  expansion: int
  cardinality: int
  dtype: str

  @nn.compact
  def __call__(self, x: Array) -> Array:
    inner = self.expansion * x.shape[-1]
    if self.cardinality < 1 or inner % self.cardinality:
      raise ConfigError(
        f"cardinality={self.cardinality} does not divide expansion * width = {inner}; take a divisor of it, as "
        f"--.cardinality={math.gcd(inner, self.cardinality or 1)}"
      )
    fan_in = nn.initializers.variance_scaling(2.0 / (1.0 + SLOPE**2) * self.blocks**-0.5, "fan_in", "normal")
    # The bias of a convolution is that of the activation after it.
    y = Conv(inner, 1, kernel_init=fan_in, dtype=self.dtype)(x)
    y = Conv(inner, 3, kernel_init=fan_in, dtype=self.dtype, groups=self.cardinality)(nn.leaky_relu(y, SLOPE))
    last = Conv(x.shape[-1], 1, use_bias=False, kernel_init=nn.initializers.zeros_init(), dtype=self.dtype)
    return x + last(nn.leaky_relu(y, SLOPE))


class R3GanNet(nn.Module):
  """The form of both networks: ``blocks`` residual blocks at each size from 4x4 to H x W.

  Attributes:
    width: channels of every stage up to ``wide_to``.
    blocks: residual blocks at each size.
    expansion: inner channels of a block, in multiples of the width.
    cardinality: groups of a block's 3x3 convolution, up to ``wide_to``.
    wide_to: pixels along a side from which each doubling halves width and cardinality.
    embedding_dim: size of a label's embedding, which G has beside z; D multiplies it by features, under a projection.
  """

  sizes = DOUBLED
  image_shape: tuple[int, int, int]
  width: int = 768
  blocks: int = 2
  expansion: int = 2
  cardinality: int = 96
  wide_to: int = 32
  embedding_dim: int = 64
  dtype: str = "float32"

  def stages(self) -> list[Stage]:
    return stages_of(self.image_shape, self.width, self.cardinality, self.wide_to)

  def conv(self, x: Array, features: int, name: str | None = None) -> Array:
    """Applies a 1x1 convolution without a bias."""
    return Conv(features, 1, use_bias=False, kernel_init=LINEAR, dtype=self.dtype, name=name)(x)

  def join(self, x: Array, stage: Stage) -> Array:
    """Maps x to the width of ``stage`` if it has another."""
    return x if stage.width == x.shape[-1] else self.conv(x, stage.width, f"to_{stage.size}x{stage.size}")

  def residual(self, x: Array, stage: Stage) -> Array:
    """Applies the blocks of ``stage``."""
    for _ in range(self.blocks):
      x = Block(len(self.stages()) * self.blocks, self.expansion, stage.cardinality, self.dtype)(x)
    return x


class Generator(R3GanNet):
  """z to 4x4, doubled up to H x W, ``blocks`` residual blocks at each size; no activation at the end."""

  takes_given = "embedding"

  @nn.compact
  def __call__(self, z: Array, *, train: bool, given: Array | None = None) -> Array:
    """z [B, Z], and given [B, K] to be embedded beside it -> [B, H, W, C]."""
    stages = self.stages()  # raises before any array is made
    if given is not None:
      embed = nn.Dense(self.embedding_dim, use_bias=False, kernel_init=LINEAR, name="label_embedding")
      z = jnp.concatenate([z, embed(given)], axis=-1)
    base = (*base_of(self.image_shape), self.width)
    basis = self.param("basis", nn.initializers.normal(1.0), base, jnp.float32)
    weights = nn.Dense(self.width, use_bias=False, kernel_init=LINEAR, dtype=self.dtype)(z)
    x = basis.astype(weights.dtype) * weights[:, None, None, :]
    for stage in stages:
      x = self.join(x, stage)
      if stage.size != min(x.shape[1:3]):
        x = smooth_double(x)
      x = self.residual(x, stage)
    return self.conv(x, self.image_shape[-1]).astype(jnp.float32)


class Discriminator(R3GanNet):
  """H x W, halved down to 4x4, ``blocks`` residual blocks at each size, then one logit.

  Under a projection the whole logit is the inner product of ``embedding_dim`` features and the label's embedding.
  """

  label_head: LabelHead = LabelHead()

  @nn.compact
  def __call__(self, x: Array, *, train: bool, keys: Array, given: Array | None = None) -> DiscriminatorOutput:
    """[B, H, W, C] -> logits [B]."""
    stages = self.stages()
    x = self.conv(x, stages[-1].width)
    for stage in reversed(stages):
      if stage.size != min(x.shape[1:3]):
        x = smooth_halve(x)
      x = self.residual(self.join(x, stage), stage)
    base = base_of(self.image_shape)
    init = nn.initializers.normal(math.prod(base) ** -0.5)  # 1 / sqrt(fan in)
    basis = self.param("basis", init, (*base, self.width), jnp.float32)
    features = jnp.sum(x.astype(jnp.float32) * basis, axis=(1, 2))
    if self.label_head.form != "projection":
      logits = nn.Dense(1, use_bias=False, kernel_init=LINEAR)(features)
      return self.label_head(jnp.squeeze(logits, -1), features, given, LINEAR)
    features = nn.Dense(self.embedding_dim, use_bias=False, kernel_init=LINEAR)(features)
    gain = nn.initializers.variance_scaling(1.0 / self.embedding_dim, "fan_in", "normal")
    return self.label_head(jnp.zeros(len(x)), features, given, gain)
