"""The residual networks of SNGAN (Miyato et al. 2018, arXiv:1802.05957, App. B.4), at the sizes of DOUBLED.

The paper's are for 32x32 and all of one width: G doubles 4x4 three times; D halves twice and goes on with two blocks
at 8x8, then sums over all pixels. Other sizes have more or fewer of the blocks that double or halve. ReLU before each
3x3 convolution, nearest-neighbour doubling before and average pooling after them; BatchNorm in G, spectral
normalization of every layer of D. Weights from Glorot's uniform distribution, in 3x3 convolutions of the blocks
sqrt(2) times as wide. Without spectral normalization and with the mean over pixels D is the critic of WGAN-GP, but for
the bias of its last layer.

A 1x1 convolution commutes with doubling and with pooling, and is here on the side of the smaller image: the same
function as the paper's for a quarter of the work.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from common.build import choose
from common.layers.basic import output_activation
from common.layers.conv import Conv, double, halve
from common.layers.normalization import BatchNormed
from common.layers.spectral import SpectralNorm
from common.types import Array
from gan.networks.interface import DOUBLED, DiscriminatorOutput, LabelHead, base_of, num_doublings

GLOROT = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")
POOLS = {"sum": jnp.sum, "mean": jnp.mean}
RESIDUAL = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform")


class Generator(BatchNormed):
  """z to 4x4, doubled up to H x W by residual blocks.

  Attributes:
    width: channels of every block.
    bn_epsilon: number added to BatchNorm's variance; 2e-5 is Chainer's, which the authors use.
  """

  takes_given = "class_batch_norm"
  sizes = DOUBLED
  image_shape: tuple[int, int, int]
  pixel_range: tuple[float, float]
  width: int = 256
  dtype: str = "float32"
  _: dataclasses.KW_ONLY
  bn_epsilon: float = 2e-5

  @nn.compact
  def __call__(self, z: Array, *, train: bool, given: Array | None = None) -> Array:
    """z [B, Z], and given [B, K] for all BatchNorms but the last -> [B, H, W, C]."""

    def normalize(x: Array, given: Array | None = given) -> Array:
      return nn.relu(self.norm(x, train=train, given=given))

    def conv(x: Array, **options: Any) -> Array:
      return Conv(self.width, 3, kernel_init=RESIDUAL, dtype=self.dtype, **options)(x)

    base = (*base_of(self.image_shape), self.width)
    x = nn.Dense(math.prod(base), kernel_init=GLOROT, dtype=self.dtype)(z).reshape(-1, *base)
    for _ in range(num_doublings(self.image_shape)):
      shortcut = double(Conv(self.width, 1, kernel_init=GLOROT, dtype=self.dtype)(x))
      x = conv(normalize(x), resample="double", use_bias=False)  # BatchNorm would cancel the bias
      x = conv(normalize(x)) + shortcut
    x = Conv(self.image_shape[-1], 3, kernel_init=GLOROT, dtype=self.dtype)(normalize(x, given=None))
    return output_activation(x.astype(jnp.float32), self.pixel_range)


class Discriminator(nn.Module):
  """H x W, halved to 8x8 by residual blocks, two more of these, summed over the pixels, then one logit.

  Attributes:
    width: channels of every block.
    spectral_norm: divides each layer's weights by their largest singular value.
    pool: reduction over the last pixels, "sum" or "mean".
  """

  sizes = DOUBLED
  image_shape: tuple[int, int, int]
  width: int = 128
  spectral_norm: bool = True
  pool: str = "sum"
  label_head: LabelHead = LabelHead()
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array, *, train: bool, keys: Array, given: Array | None = None) -> DiscriminatorOutput:
    """[B, H, W, C] -> logits [B]."""

    def normalized(layer: nn.Module) -> Callable[[Array], Array]:
      return SpectralNorm(layer) if self.spectral_norm else layer

    def conv(x: Array, resample: str = "none") -> Array:
      return normalized(Conv(self.width, 3, kernel_init=RESIDUAL, dtype=self.dtype, resample=resample))(x)

    def shortcut(x: Array) -> Array:
      return normalized(Conv(self.width, 1, kernel_init=GLOROT, dtype=self.dtype))(halve(x))

    # The first block meets pixels, which no ReLU must cut.
    x = conv(nn.relu(conv(x)), "halve") + shortcut(x)
    for _ in range(num_doublings(self.image_shape) - 2):
      x = conv(nn.relu(conv(nn.relu(x))), "halve") + shortcut(x)
    for _ in range(2):
      x = conv(nn.relu(conv(nn.relu(x)))) + x
    features = choose(POOLS, self.pool, "config.discriminator.pool")(nn.relu(x).astype(jnp.float32), axis=(1, 2))
    logits = normalized(nn.Dense(1, use_bias=False, kernel_init=GLOROT))(features)
    return self.label_head(jnp.squeeze(logits, -1), features, given, GLOROT, normalized)
