"""The networks of InfoGAN (Chen et al. 2016, App. C.1) as Lucic et al. 2018 have them for every loss that they compare.

G: 1024 and 128 * (H / 4) * (W / 4) units, then two 4x4 fractionally strided convolutions; BatchNorm and LeakyReLU (in
their code 0.2; InfoGAN's, and the default here, is ReLU) before each but the first. D: two 4x4 strided convolutions of
64 and 128 channels and 1024 units; LeakyReLU(0.2), and BatchNorm but after the first. Weights from N(0, 0.02); their
code cuts those of D's convolutions off at two deviations, which is an argument here.
"""

import flax.linen as nn
import jax.numpy as jnp

from common.layers.basic import output_activation
from common.layers.conv import Conv, ConvTranspose
from common.layers.normalization import BatchNormed
from common.types import Array
from gan.networks.interface import FOURS, DiscriminatorOutput, LabelHead

WEIGHTS = nn.initializers.normal(0.02)
TRUNCATED = nn.initializers.truncated_normal(0.02)


class Generator(BatchNormed):
  """z to H / 4 x W / 4 by two dense layers, doubled twice.

  Attributes:
    width: channels before the output; the layer before has twice as many.
    hidden: units of the first layer.
    slope: slope of LeakyReLU below 0.
  """

  takes_given = "class_batch_norm"
  sizes = FOURS
  image_shape: tuple[int, int, int]
  pixel_range: tuple[float, float]
  width: int = 64
  hidden: int = 1024
  slope: float = 0.0
  dtype: str = "float32"

  @nn.compact
  def __call__(self, z: Array, *, train: bool, given: Array | None = None) -> Array:
    """z [B, Z], and for conditional BatchNorm given [B, K] -> [B, H, W, C]."""

    def normalize(x: Array) -> Array:
      x = self.norm(x, train=train, given=given)
      return nn.leaky_relu(x, self.slope)

    def double(x: Array, features: int, **options: bool) -> Array:
      return ConvTranspose(features, (4, 4), strides=(2, 2), kernel_init=WEIGHTS, dtype=self.dtype, **options)(x)

    FOURS.check(self.image_shape)
    height, width = self.image_shape[0] // 4, self.image_shape[1] // 4
    # No bias before BatchNorm, which would cancel it.
    x = normalize(nn.Dense(self.hidden, use_bias=False, kernel_init=WEIGHTS, dtype=self.dtype)(z))
    x = nn.Dense(2 * self.width * height * width, use_bias=False, kernel_init=WEIGHTS, dtype=self.dtype)(x)
    x = normalize(x).reshape(-1, height, width, 2 * self.width)
    x = normalize(double(x, self.width, use_bias=False))
    return output_activation(double(x, self.image_shape[-1]).astype(jnp.float32), self.pixel_range)


class Discriminator(BatchNormed):
  """H x W, halved twice, then a dense layer and one logit.

  Attributes:
    width: channels of the first convolution; the second has twice as many.
    hidden: units of the dense layer.
    slope: slope of LeakyReLU below 0.
    batch_norm: BatchNorm after the second convolution and the dense layer; False: none, as under a gradient penalty.
    truncated: whether the convolutions' initial weights are cut off at two deviations.
  """

  sizes = FOURS
  image_shape: tuple[int, int, int]
  width: int = 64
  hidden: int = 1024
  slope: float = 0.2
  batch_norm: bool = True
  truncated: bool = False
  label_head: LabelHead = LabelHead()
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array, *, train: bool, keys: Array, given: Array | None = None) -> DiscriminatorOutput:
    """[B, H, W, C] -> logits [B], features [B, hidden]."""

    def normalize(x: Array) -> Array:
      return nn.leaky_relu(self.norm(x, train=train) if self.batch_norm else x, self.slope)

    def halve(x: Array, features: int, use_bias: bool) -> Array:
      init = TRUNCATED if self.truncated else WEIGHTS
      return Conv(features, (4, 4), strides=(2, 2), use_bias=use_bias, kernel_init=init, dtype=self.dtype)(x)

    FOURS.check(self.image_shape)
    x = nn.leaky_relu(halve(x, self.width, use_bias=True), self.slope)
    x = normalize(halve(x, 2 * self.width, use_bias=not self.batch_norm))
    x = x.reshape(x.shape[0], -1)
    x = nn.Dense(self.hidden, use_bias=not self.batch_norm, kernel_init=WEIGHTS, dtype=self.dtype)(x)
    features = normalize(x).astype(jnp.float32)
    logits = nn.Dense(1, kernel_init=WEIGHTS)(features)
    return self.label_head(jnp.squeeze(logits, -1), features, given, WEIGHTS)
