"""The codec beside libjpeg, through Pillow, also on odd sizes."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from common.data.degradations.jpeg import LUMA, Jpeg, compressed, tables
from common.errors import ConfigError

QUALITIES = (10, 30, 50, 75, 90)
CODEC = jax.jit(compressed)


def picture(height: int, width: int) -> np.ndarray:
  """Draws a picture, uint8 [height, width, 3], with the spectrum of a photograph."""
  noise = np.random.RandomState(0).randn(height, width, 3)
  octaves = [2 * s * ndimage.gaussian_filter(noise, (s, s, 0), mode="wrap") for s in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)]
  return np.clip(128 + 6 * sum(octaves) @ [[1.0, 0.8, 0.5], [0.2, 0.6, 0.4], [0.1, 0.2, 0.6]], 0, 255).astype(np.uint8)


def file_of(x: np.ndarray, quality: int) -> np.ndarray:
  file = io.BytesIO()
  Image.fromarray(x).save(file, "JPEG", quality=quality)
  return np.asarray(Image.open(file)).astype(np.float32)


def psnr(x: np.ndarray, y: np.ndarray) -> float:
  return float(10 * np.log10(255**2 / np.mean((x.astype(np.float64) - y) ** 2)))


@pytest.mark.parametrize("shape", [(64, 96), (45, 37)])
def test_it_loses_what_a_file_loses(shape):
  x = picture(*shape)
  ours = CODEC(jnp.stack([x] * len(QUALITIES)).astype(jnp.float32) / 255, jnp.array(QUALITIES, jnp.float32))
  for quality, image in zip(QUALITIES, np.asarray(ours) * 255, strict=True):
    file = file_of(x, quality)
    apart = np.abs(file - image)
    assert abs(psnr(x, file) - psnr(x, image)) < 0.03, quality
    assert np.mean(apart < 0.5) > 0.58 and apart.mean() < 0.56, quality


def test_grey_pictures_have_no_chroma():
  x = picture(45, 37)[..., 0]
  ours = np.asarray(CODEC(x[None, ..., None].astype(np.float32) / 255, jnp.array([50.0])))[0, ..., 0] * 255
  assert np.mean(np.abs(file_of(x, 50) - ours) < 0.5) > 0.85


def test_the_tables_are_those_in_a_file():
  for quality in (1, 10, 49, 50, 77, 100):
    file = io.BytesIO()
    Image.fromarray(picture(16, 16)).save(file, "JPEG", quality=quality)
    written = np.sort(np.array(Image.open(file).quantization[0]))
    ours = np.sort(np.asarray(tables(jnp.array([float(quality)]), LUMA)).ravel())
    np.testing.assert_array_equal(ours, written)


def test_a_quality_is_rounded_and_drawn_from_a_range():
  x = jnp.asarray(picture(16, 16)[None].astype(np.float32) / 255)
  assert (CODEC(x, jnp.array([29.6])) == CODEC(x, jnp.array([30.0]))).all()
  with pytest.raises(ConfigError, match=r"quality=0 must be in \[1, 100\]"):
    Jpeg(0)
  with pytest.raises(ConfigError, match="a JPEG file has 1 or 3 channels, and these images have 4"):
    Jpeg(50).shape((8, 8, 4))
