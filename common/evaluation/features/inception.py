"""InceptionV3 of 5 December 2015, whose features make a Frechet distance an FID (Heusel et al. 2017, Section 4).

It is the graph that TensorFlow published then, not that of Szegedy et al. 2016 or of later model zoos: average pools
leave padding out of their means, and the last block pools by maximum. Names are those of the PyTorch weights.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax

from common.evaluation.features.tf1_resize import tf1_resize
from common.types import Array

Pair = tuple[int, int]

SIZE = 299


def prepare(images: np.ndarray) -> np.ndarray:
  """uint8 [B, H, W, C] -> float32 [B, 299, 299, 3] in [-1, 1), on the host; grey is repeated in three channels.

  Raises:
    ValueError: another type, or neither one nor three channels.
  """
  if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
    raise ValueError(
      f"images of type {images.dtype} and shape {images.shape}: Inception takes uint8 [B, H, W, C] with C = 1 or 3; "
      "round to 0 .. 255 and drop other channels first"
    )
  x = (tf1_resize(images, SIZE, SIZE) - np.float32(128)) / np.float32(128)
  return np.repeat(x, 3, axis=3) if images.shape[3] == 1 else x


class ConvUnit(nn.Module):
  """Convolution, BatchNorm with frozen statistics and ReLU, [B, H, W, I] -> [B, H', W', features].

  Attributes:
    features: channels that come out.
    kernel_size: (height, width), or one number for both; so with the padding.
    strides: of both axes.
    padding: pixels on both sides of an axis.
  """

  features: int
  kernel_size: int | Pair
  strides: int = 1
  padding: int | Pair = 0

  @nn.compact
  def __call__(self, x: Array) -> Array:
    kernel = _frozen(self, "kernel", (*_pair(self.kernel_size), x.shape[-1], self.features), x)
    scale, bias, mean, var = (_frozen(self, name, (self.features,), x) for name in ("scale", "bias", "mean", "var"))
    # A GPU or TPU would otherwise multiply in 10 or 8 bits.
    y = lax.conv_general_dilated(
      x,
      kernel,
      window_strides=(self.strides, self.strides),
      padding=[(pad, pad) for pad in _pair(self.padding)],
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
      precision=lax.Precision.HIGHEST,
    )
    return nn.relu((y - mean) * (scale * lax.rsqrt(var + 1e-3)) + bias)


class InceptionA(nn.Module):
  """[B, 35, 35, I] -> [B, 35, 35, 224 + pool_features]."""

  pool_features: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    single = ConvUnit(64, 1, name="branch1x1")(x)
    five = ConvUnit(48, 1, name="branch5x5_1")(x)
    five = ConvUnit(64, 5, padding=2, name="branch5x5_2")(five)
    double = ConvUnit(64, 1, name="branch3x3dbl_1")(x)
    double = ConvUnit(96, 3, padding=1, name="branch3x3dbl_2")(double)
    double = ConvUnit(96, 3, padding=1, name="branch3x3dbl_3")(double)
    pool = ConvUnit(self.pool_features, 1, name="branch_pool")(_average_pool(x))
    return jnp.concatenate([single, five, double, pool], axis=-1)


class InceptionB(nn.Module):
  """[B, 35, 35, I] -> [B, 17, 17, 480 + I]."""

  @nn.compact
  def __call__(self, x: Array) -> Array:
    three = ConvUnit(384, 3, strides=2, name="branch3x3")(x)
    double = ConvUnit(64, 1, name="branch3x3dbl_1")(x)
    double = ConvUnit(96, 3, padding=1, name="branch3x3dbl_2")(double)
    double = ConvUnit(96, 3, strides=2, name="branch3x3dbl_3")(double)
    return jnp.concatenate([three, double, _halving_pool(x)], axis=-1)


class InceptionC(nn.Module):
  """[B, 17, 17, I] -> [B, 17, 17, 768]; convolutions by 7 go along one axis, with ``width`` channels between them."""

  width: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    row, column = {"kernel_size": (1, 7), "padding": (0, 3)}, {"kernel_size": (7, 1), "padding": (3, 0)}
    single = ConvUnit(192, 1, name="branch1x1")(x)
    seven = ConvUnit(self.width, 1, name="branch7x7_1")(x)
    seven = ConvUnit(self.width, **row, name="branch7x7_2")(seven)
    seven = ConvUnit(192, **column, name="branch7x7_3")(seven)
    double = ConvUnit(self.width, 1, name="branch7x7dbl_1")(x)
    double = ConvUnit(self.width, **column, name="branch7x7dbl_2")(double)
    double = ConvUnit(self.width, **row, name="branch7x7dbl_3")(double)
    double = ConvUnit(self.width, **column, name="branch7x7dbl_4")(double)
    double = ConvUnit(192, **row, name="branch7x7dbl_5")(double)
    pool = ConvUnit(192, 1, name="branch_pool")(_average_pool(x))
    return jnp.concatenate([single, seven, double, pool], axis=-1)


class InceptionD(nn.Module):
  """[B, 17, 17, I] -> [B, 8, 8, 512 + I]."""

  @nn.compact
  def __call__(self, x: Array) -> Array:
    three = ConvUnit(192, 1, name="branch3x3_1")(x)
    three = ConvUnit(320, 3, strides=2, name="branch3x3_2")(three)
    seven = ConvUnit(192, 1, name="branch7x7x3_1")(x)
    seven = ConvUnit(192, (1, 7), padding=(0, 3), name="branch7x7x3_2")(seven)
    seven = ConvUnit(192, (7, 1), padding=(3, 0), name="branch7x7x3_3")(seven)
    seven = ConvUnit(192, 3, strides=2, name="branch7x7x3_4")(seven)
    return jnp.concatenate([three, seven, _halving_pool(x)], axis=-1)


class InceptionE(nn.Module):
  """[B, 8, 8, I] -> [B, 8, 8, 2048]; the published graph pools its first by average and its second by maximum."""

  pool: str

  @nn.compact
  def __call__(self, x: Array) -> Array:
    row, column = {"kernel_size": (1, 3), "padding": (0, 1)}, {"kernel_size": (3, 1), "padding": (1, 0)}
    single = ConvUnit(320, 1, name="branch1x1")(x)
    three = ConvUnit(384, 1, name="branch3x3_1")(x)
    threes = [
      ConvUnit(384, **row, name="branch3x3_2a")(three),
      ConvUnit(384, **column, name="branch3x3_2b")(three),
    ]
    double = ConvUnit(448, 1, name="branch3x3dbl_1")(x)
    double = ConvUnit(384, 3, padding=1, name="branch3x3dbl_2")(double)
    doubles = [
      ConvUnit(384, **row, name="branch3x3dbl_3a")(double),
      ConvUnit(384, **column, name="branch3x3dbl_3b")(double),
    ]
    pooled = _average_pool(x) if self.pool == "average" else nn.max_pool(x, (3, 3), (1, 1), ((1, 1), (1, 1)))
    pool = ConvUnit(192, 1, name="branch_pool")(pooled)
    return jnp.concatenate([single, *threes, *doubles, pool], axis=-1)


class InceptionV3(nn.Module):
  """Maps `prepare`d images [B, 299, 299, 3] to the heads of the published network by name, in the images' type.

  The heads "64", "192", "768" and "2048" are means over the image after the layer with that width; FID uses "2048".
  "logits" and "logits_unbiased" are [B, 1008]; the latter, which the Inception Score uses, lack the last layer's bias.
  The arrays come from a file (`common.evaluation.features.inception_weights`); ``init`` makes zeros, which give their
  names and shapes.
  """

  @nn.compact
  def __call__(self, x: Array) -> dict[str, Array]:
    x = ConvUnit(32, 3, strides=2, name="Conv2d_1a_3x3")(x)
    x = ConvUnit(32, 3, name="Conv2d_2a_3x3")(x)
    x = ConvUnit(64, 3, padding=1, name="Conv2d_2b_3x3")(x)
    x = _halving_pool(x)
    heads = {"64": _image_mean(x)}
    x = ConvUnit(80, 1, name="Conv2d_3b_1x1")(x)
    x = ConvUnit(192, 3, name="Conv2d_4a_3x3")(x)
    x = _halving_pool(x)
    heads["192"] = _image_mean(x)
    x = InceptionA(32, name="Mixed_5b")(x)
    x = InceptionA(64, name="Mixed_5c")(x)
    x = InceptionA(64, name="Mixed_5d")(x)
    x = InceptionB(name="Mixed_6a")(x)
    x = InceptionC(128, name="Mixed_6b")(x)
    x = InceptionC(160, name="Mixed_6c")(x)
    x = InceptionC(160, name="Mixed_6d")(x)
    x = InceptionC(192, name="Mixed_6e")(x)
    heads["768"] = _image_mean(x)
    x = InceptionD(name="Mixed_7a")(x)
    x = InceptionE("average", name="Mixed_7b")(x)
    x = InceptionE("max", name="Mixed_7c")(x)
    heads["2048"] = _image_mean(x)
    kernel, bias = _frozen(self, "fc_kernel", (2048, 1008), x), _frozen(self, "fc_bias", (1008,), x)
    heads["logits_unbiased"] = jnp.dot(heads["2048"], kernel, precision=lax.Precision.HIGHEST)
    heads["logits"] = heads["logits_unbiased"] + bias
    return heads


def _frozen(module: nn.Module, name: str, shape: tuple[int, ...], like: Array) -> Array:
  return module.param(name, nn.initializers.zeros_init(), shape, jnp.float32).astype(like.dtype)


def _pair(value: int | Pair) -> Pair:
  return (value, value) if isinstance(value, int) else value


def _average_pool(x: Array) -> Array:
  """Means of 3x3 pixels; at the border, of those that there are."""
  return nn.avg_pool(x, (3, 3), (1, 1), ((1, 1), (1, 1)), count_include_pad=False)


def _halving_pool(x: Array) -> Array:
  return nn.max_pool(x, (3, 3), (2, 2), "VALID")


def _image_mean(x: Array) -> Array:
  return jnp.mean(x, axis=(1, 2))
