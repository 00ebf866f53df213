"""The resize against torch-fidelity's bits, and against its definition pixel by pixel."""

import hashlib

import jax
import numpy as np
import pytest

from common.evaluation.features.inception import prepare
from common.evaluation.features.tf1_resize import tf1_resize
from tests.common.evaluation.features import inception_reference


def pixel_by_pixel(image: np.ndarray, new_size: tuple[int, int]) -> np.ndarray:
  """[H, W] -> new_size by the definition: one output pixel at a time, float32 all along."""
  one, out = np.float32, np.zeros(new_size, np.float32)
  last_row, last_column = image.shape[0] - 1, image.shape[1] - 1
  for i in range(new_size[0]):
    y = one(i) * (one(image.shape[0]) / one(new_size[0]))
    top = int(np.floor(y))
    for j in range(new_size[1]):
      x = one(j) * (one(image.shape[1]) / one(new_size[1]))
      left = int(np.floor(x))
      corners = [[one(image[min(top + k, last_row), min(left + n, last_column)]) for n in (0, 1)] for k in (0, 1)]
      rows = [a + (b - a) * (x - one(left)) for a, b in corners]
      out[i, j] = rows[0] + (rows[1] - rows[0]) * (y - one(top))
  return out


@pytest.mark.parametrize("size", inception_reference.SIZES)
def test_bits_are_torch_fidelitys(size: str):
  resized = tf1_resize(inception_reference.image(size), 299, 299)
  assert resized.dtype == np.float32
  with np.load(inception_reference.GOLDEN) as golden:
    assert hashlib.sha256(resized.tobytes()).hexdigest() == str(golden[f"{size}/resize"])


@pytest.mark.parametrize(("size", "new_size"), [((32, 32), (299, 299)), ((400, 300), (299, 150)), ((5, 1), (3, 4))])
def test_bits_are_those_of_the_definition(size: tuple[int, int], new_size: tuple[int, int]):
  checkers = 255 * (np.add.outer(np.arange(size[0]), np.arange(size[1])) % 2)
  noise = np.random.RandomState(0).randint(0, 256, size)
  image = np.where(np.arange(size[1]) < size[1] // 2, checkers, noise).astype(np.uint8)
  resized = tf1_resize(image[None, :, :, None], *new_size)[0, :, :, 0]
  np.testing.assert_array_equal(resized, pixel_by_pixel(image, new_size))


def test_a_picture_of_the_new_size_stays_as_it_is():
  image = inception_reference.image("299")
  np.testing.assert_array_equal(tf1_resize(image, 299, 299), image)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", ["32", "400"])
def test_the_resize_of_jax_is_another_function(size: str, antialias: bool):
  image = inception_reference.image(size).astype(np.float32)
  other = jax.image.resize(image, (1, 299, 299, 3), "bilinear", antialias=antialias)
  assert np.abs(tf1_resize(image, 299, 299) - other).mean() > 1.0


def test_prepared_pixels_lie_in_the_range_of_the_network_and_grey_in_three_channels():
  image = np.array([0, 64, 128, 255], np.uint8).reshape(1, 2, 2, 1)
  prepared = prepare(image)
  assert prepared.shape == (1, 299, 299, 3) and prepared.dtype == np.float32
  np.testing.assert_array_equal(
    prepared[0, [0, 0, -1, -1], [0, -1, 0, -1]], np.repeat([[-1], [-0.5], [0], [127 / 128]], 3, 1)
  )
  np.testing.assert_array_equal(prepared, prepare(np.repeat(image, 3, axis=3)))


@pytest.mark.parametrize(
  "images",
  [np.zeros((1, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8), np.zeros((1, 8, 8, 4), np.uint8)],
)
def test_other_images_are_an_error(images: np.ndarray):
  with pytest.raises(ValueError, match=r"and shape .*: Inception takes uint8 \[B, H, W, C\] with C = 1 or 3"):
    prepare(images)
