"""DCGAN (Radford et al. 2015, arXiv:1511.06434), at 4 * 2^n pixels and other sizes of DOUBLED.

The paper's rules: strided and fractionally strided convolutions in place of pooling; BatchNorm in both networks,
but not at G's output or D's input; no hidden fully connected layers; ReLU in G with a tanh output, LeakyReLU(0.2)
in D; weights from N(0, 0.02).
"""

import math

import flax.linen as nn
import jax.numpy as jnp
from jax.nn import initializers

from common.layers.basic import output_activation
from common.layers.conv import Conv, ConvTranspose
from common.layers.normalization import BatchNormed
from common.types import Array
from gan.networks.interface import DOUBLED, DiscriminatorOutput, LabelHead, base_of, num_doublings

WEIGHTS = initializers.normal(0.02)


def gamma_init(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
  """Draws BatchNorm scales from N(1, 0.02), as the authors' code does."""
  return 1.0 + WEIGHTS(key, shape, dtype)


class Generator(BatchNormed):
  """z to 4x4, doubled up to H x W by fractionally strided convolutions.

  Attributes:
    width: channels before the output, doubled at each stage towards z.
    kernel_size: height and width of the kernels.
  """

  takes_given = "class_batch_norm"
  sizes = DOUBLED
  image_shape: tuple[int, int, int]
  pixel_range: tuple[float, float]
  width: int = 128
  kernel_size: int = 5
  dtype: str = "float32"

  @nn.compact
  def __call__(self, z: Array, *, train: bool, given: Array | None = None) -> Array:
    """z [B, Z], and for conditional BatchNorm given [B, K] -> [B, H, W, C]."""
    kernel, stages = (self.kernel_size, self.kernel_size), num_doublings(self.image_shape)

    def normalize(x: Array) -> Array:
      x = self.norm(x, train=train, given=given, scale_init=gamma_init)
      return nn.relu(x)

    # No bias before BatchNorm, which would cancel it.
    channels = self.width * 2 ** (stages - 1)
    base = (*base_of(self.image_shape), channels)
    x = nn.Dense(math.prod(base), use_bias=False, kernel_init=WEIGHTS, dtype=self.dtype)(z)
    x = normalize(x.reshape(-1, *base))
    for stage in reversed(range(stages - 1)):
      layer = ConvTranspose(
        self.width * 2**stage, kernel, strides=(2, 2), use_bias=False, kernel_init=WEIGHTS, dtype=self.dtype
      )
      x = normalize(layer(x))
    x = ConvTranspose(self.image_shape[-1], kernel, strides=(2, 2), kernel_init=WEIGHTS, dtype=self.dtype)(x)
    return output_activation(x.astype(jnp.float32), self.pixel_range)


class Discriminator(BatchNormed):
  """H x W, halved down to 4x4 by strided convolutions, then one logit.

  Attributes:
    width: channels after the first convolution, doubled at each stage.
    kernel_size: height and width of the kernels.
    slope: slope of LeakyReLU below 0.
    batch_norm: BatchNorm after every convolution but the first; False: biases instead, as under a gradient penalty.
  """

  sizes = DOUBLED
  image_shape: tuple[int, int, int]
  width: int = 128
  kernel_size: int = 5
  slope: float = 0.2
  batch_norm: bool = True
  label_head: LabelHead = LabelHead()
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array, *, train: bool, keys: Array, given: Array | None = None) -> DiscriminatorOutput:
    """[B, H, W, C] -> logits [B]."""
    kernel = (self.kernel_size, self.kernel_size)
    for stage in range(num_doublings(self.image_shape)):
      normalized = self.batch_norm and stage > 0
      x = Conv(
        self.width * 2**stage, kernel, strides=(2, 2), use_bias=not normalized, kernel_init=WEIGHTS, dtype=self.dtype
      )(x)
      if normalized:
        x = self.norm(x, train=train, scale_init=gamma_init)
      x = nn.leaky_relu(x, self.slope)
    features = x.reshape(x.shape[0], -1).astype(jnp.float32)
    logits = nn.Dense(1, kernel_init=WEIGHTS)(features)
    return self.label_head(jnp.squeeze(logits, -1), features, given, WEIGHTS)
