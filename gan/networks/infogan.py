"""The networks of InfoGAN (Chen et al. 2016, App. C.1) as Lucic et al. 2018 have them for every loss that they compare.

G: 1024 and 128 * (H / 4) * (W / 4) units, then two 4x4 fractionally strided convolutions; BatchNorm and LeakyReLU (in
their code 0.2; InfoGAN's, and the default here, is ReLU) before each but the first. D: two 4x4 strided convolutions of
64 and 128 channels and 1024 units; LeakyReLU(0.2), and BatchNorm but after the first. Weights from N(0, 0.02); in their
code those of D's convolutions are cut off at two deviations, which is an argument here.
"""

import flax.linen as nn
import jax.numpy as jnp

from common.layers.basic import output_activation
from common.layers.conv import Conv, ConvTranspose
from common.layers.normalization import BatchNorm
from common.types import Array
from gan.networks.output import DiscriminatorOutput, LabelHead
from gan.networks.sizes import FOURS

WEIGHTS = nn.initializers.normal(0.02)
TRUNCATED = nn.initializers.truncated_normal(0.02)


class Generator(nn.Module):
  """z to H / 4 x W / 4 by two dense layers, doubled twice.

  Attributes:
    image_shape: (height, width, channels) of the data.
    pixel_range: of the data.
    width: channels before the output; twice as many before those.
    hidden: units of the first layer.
    slope: of LeakyReLU below 0.
    bn_momentum: of BatchNorm's running statistics, running = momentum * running + (1 - momentum) * batch.
    bn_epsilon: added to BatchNorm's variance.
    bn_axis_name: the device axis that BatchNorm is synchronised over, None for none.
    norm_classes: labels that each have their own scale and bias in BatchNorm; 0: one for all.
    dtype: what convolutions compute in.
  """

  sizes = FOURS
  image_shape: tuple[int, int, int]
  pixel_range: tuple[float, float]
  width: int = 64
  hidden: int = 1024
  slope: float = 0.0
  bn_momentum: float = 0.9
  bn_epsilon: float = 1e-5
  bn_axis_name: str | None = None
  norm_classes: int = 0
  dtype: str = "float32"

  @nn.compact
  def __call__(self, z: Array, *, train: bool, labels: Array | None = None) -> Array:
    """[B, Z], with ``norm_classes`` labels [B] -> [B, H, W, C]."""

    def normalize(x: Array) -> Array:
      norm = BatchNorm(
        momentum=self.bn_momentum,
        epsilon=self.bn_epsilon,
        axis_name=self.bn_axis_name,
        num_classes=self.norm_classes,
      )
      return nn.leaky_relu(norm(x, train=train, labels=labels), self.slope)

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


class Discriminator(nn.Module):
  """H x W, halved twice, then a dense layer and one logit.

  Attributes:
    image_shape: (height, width, channels) of the data.
    width: channels of the first convolution, half of those of the second.
    hidden: units of the dense layer.
    slope: of LeakyReLU below 0.
    batch_norm: after the second convolution and the dense layer; False: none, as under a gradient penalty.
    truncated: whether the convolutions' initial weights are cut off at two deviations.
    bn_momentum: of BatchNorm's running statistics, running = momentum * running + (1 - momentum) * batch.
    bn_epsilon: added to BatchNorm's variance.
    bn_axis_name: the device axis that BatchNorm is synchronised over, None for none.
    label_head: what its features say of labels.
    dtype: what convolutions compute in.
  """

  sizes = FOURS
  image_shape: tuple[int, int, int]
  width: int = 64
  hidden: int = 1024
  slope: float = 0.2
  batch_norm: bool = True
  truncated: bool = False
  bn_momentum: float = 0.9
  bn_epsilon: float = 1e-5
  bn_axis_name: str | None = None
  label_head: LabelHead = LabelHead()
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: Array, *, train: bool, rows: Array, labels: Array | None = None) -> DiscriminatorOutput:
    """[B, H, W, C] -> logits [B], features [B, hidden]."""

    def normalize(x: Array) -> Array:
      if self.batch_norm:
        norm = BatchNorm(momentum=self.bn_momentum, epsilon=self.bn_epsilon, axis_name=self.bn_axis_name)
        x = norm(x, train=train)
      return nn.leaky_relu(x, self.slope)

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
    return self.label_head(jnp.squeeze(logits, -1), features, labels, WEIGHTS)
