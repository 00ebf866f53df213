"""JPEG as libjpeg writes and reads it by default: baseline, 4:2:0, the tables of a quality, smooth chroma upsampling.

Its integer arithmetic is followed but in the cosine transforms, which are exact here and approximate there, so that a
value now and then differs from a file's by a few grey levels.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import lax

from common.data.degradations.degradation import Degradation, Range, Shape, check_range, drawn
from common.errors import ConfigError
from common.types import Array, Images

# Tables K.1 and K.2 of ITU-T T.81, which libjpeg scales by the quality.
LUMA = np.array([
  [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55],
  [14, 13, 16, 24, 40, 57, 69, 56], [14, 17, 22, 29, 51, 87, 80, 62],
  [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
  [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99],
], np.float32)  # fmt: skip
CHROMA = np.full((8, 8), 99, np.float32)
CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
COSINES = np.array(  # the orthonormal DCT-II of 8 values
  [[np.sqrt((1 + (u > 0)) / 8) * np.cos((2 * i + 1) * u * np.pi / 16) for i in range(8)] for u in range(8)], np.float32
)
TO_YCC = np.array(  # BT.601, full range
  [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]], np.float32
)


def tables(quality: Array, base: np.ndarray) -> Array:
  """The quantisation table of each quality, [B] in 1 .. 100 -> [B, 8, 8], whole numbers in 1 .. 255."""
  scale = jnp.where(quality < 50, jnp.floor(5000.0 / quality), 200.0 - 2.0 * quality)
  return jnp.clip(jnp.floor((base * scale[:, None, None] + 50.0) / 100.0), 1.0, 255.0)


def coded(plane: Array, table: Array) -> Array:
  """Quantises the cosine transform of each block, [B, H, W] in 0 .. 255 (multiples of 8), [B, 8, 8] -> [B, H, W]."""
  blocks = plane.reshape(len(plane), plane.shape[1] // 8, 8, plane.shape[2] // 8, 8) - 128.0

  def transform(x: Array, matrix: np.ndarray) -> Array:
    return jnp.einsum("ui,vj,bhiwj->bhuwv", matrix, matrix, x, precision=lax.Precision.HIGHEST)

  step = table[:, None, :, None, :]
  levels = transform(blocks, COSINES) / step
  levels = jnp.sign(levels) * jnp.floor(jnp.abs(levels) + 0.5)
  decoded = jnp.clip(_rounded(transform(levels * step, COSINES.T)) + 128.0, 0.0, 255.0)
  return decoded.reshape(plane.shape)


def halved(plane: Array) -> Array:
  """Averages 2x2 values [B, H, W], rounding halves down and up by turns along a line, as libjpeg."""
  total = plane[:, ::2, ::2] + plane[:, 1::2, ::2] + plane[:, ::2, 1::2] + plane[:, 1::2, 1::2]
  return jnp.floor((total + 1.0 + np.arange(total.shape[2]) % 2) / 4.0)


def doubled(plane: Array) -> Array:
  """Upsamples [B, H, W] -> [B, 2H, 2W] by a triangle filter: 3/4 of the nearer and 1/4 of the farther neighbour."""

  def spread(x: Array, axis: int) -> tuple[Array, Array]:
    margin = [(0, 0)] * 3
    margin[axis] = (1, 1)
    padded, count = jnp.pad(x, margin, mode="edge"), x.shape[axis]
    before, after = (lax.slice_in_dim(padded, k, k + count, axis=axis) for k in (0, 2))
    return 3.0 * x + before, 3.0 * x + after

  lines = jnp.stack(spread(plane, 1), axis=2).reshape(len(plane), -1, plane.shape[2])
  left, right = spread(lines, 2)
  pairs = jnp.stack([jnp.floor((left + 8.0) / 16.0), jnp.floor((right + 7.0) / 16.0)], axis=3)
  return pairs.reshape(len(plane), lines.shape[1], -1)


def compressed(x: Images, quality: Array) -> Images:
  """Writes and reads images [B, H, W, 1 or 3] in [0, 1] (others are clipped), quality [B] in 1 .. 100."""
  _, height, width, channels = x.shape
  quality = jnp.round(quality)
  x = jnp.clip(jnp.round(x * 255.0), 0.0, 255.0)
  block = 8 if channels == 1 else 16
  margin = ((0, 0), (0, -height % block), (0, -width % block), (0, 0))
  x = jnp.pad(x, margin, mode="edge")
  if channels == 1:
    return coded(x[..., 0], tables(quality, LUMA))[:, :height, :width, None] / 255.0
  # Sums of products, not the matrix unit, which may take bfloat16.
  luma, *colors = (jnp.sum(x * row, axis=-1) + centre for row, centre in zip(TO_YCC, (0.0, 128.0, 128.0), strict=True))
  y = coded(_rounded(luma), tables(quality, LUMA))[:, :height, :width]
  cb, cr = (_through_half(_rounded(plane), quality, height, width) for plane in colors)
  offsets = (1.402 * cr, -0.344136286 * cb - 0.714136286 * cr, 1.772 * cb)
  rgb = [y + _rounded(offset) for offset in offsets]
  return jnp.clip(jnp.stack(rgb, axis=-1), 0.0, 255.0) / 255.0


def _rounded(x: Array) -> Array:
  """Rounds halves up, also those that float arithmetic leaves a little below."""
  return jnp.floor(x + 0.5001)


def _through_half(plane: Array, quality: Array, height: int, width: int) -> Array:
  small = coded(_padded(halved(plane)), tables(quality, CHROMA))
  # Beyond the image libjpeg repeats its last chroma values, not what the last block holds there.
  inside = small[:, : -(-height // 2), : -(-width // 2)]
  return doubled(inside)[:, :height, :width] - 128.0


def _padded(plane: Array) -> Array:
  return jnp.pad(plane, ((0, 0), (0, -plane.shape[1] % 8), (0, -plane.shape[2] % 8)), mode="edge")


@dataclasses.dataclass(frozen=True)
class Jpeg(Degradation):
  """Writes and reads a JPEG file.

  Attributes:
    quality: as libjpeg and Pillow count it, 1 .. 100, or (low, high) of which each image draws its own; rounded.
  """

  quality: Range

  def __post_init__(self) -> None:
    check_range("quality", self.quality, 1.0, 100.0)

  def shape(self, image_shape: Shape) -> Shape:
    if image_shape[2] not in (1, 3):
      raise ConfigError(f"a JPEG file has 1 or 3 channels, and these images have {image_shape[2]}")
    return image_shape

  def __call__(self, x: Images, keys: Array) -> Images:
    return compressed(x, drawn(self.quality, keys, "quality"))
