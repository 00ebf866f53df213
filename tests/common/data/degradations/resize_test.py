"""Resizing beside Pillow, whose weights at the border differ, and MATLAB's known numbers."""

import numpy as np
import pytest
from PIL import Image

from common.data.degradations.resize import Resize, resized, weights
from common.errors import ConfigError

X = np.random.RandomState(0).rand(2, 24, 36, 3).astype(np.float32)
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "area": Image.Resampling.BOX, "nearest": Image.Resampling.NEAREST}


def pillow(x: np.ndarray, height: int, width: int, method: str, margin: int = 0) -> np.ndarray:
  """Resizes [H, W] with Pillow; a mirrored margin, cut off again, stands for MATLAB's border."""
  away = [margin * size // side for size, side in zip((height, width), x.shape, strict=True)]
  picture = Image.fromarray(np.pad(x, margin, mode="symmetric") if margin else x)
  done = np.asarray(picture.resize((width + 2 * away[1], height + 2 * away[0]), FILTERS[method]))
  return done[away[0] : away[0] + height, away[1] : away[1] + width]


@pytest.mark.parametrize("method", FILTERS)
@pytest.mark.parametrize("shape", [(12, 18), (8, 12), (6, 9), (48, 72), (72, 108)])
def test_it_equals_pillow_on_a_mirrored_image(method, shape):
  ours = resized(X, *shape, method)
  for image, reference in zip(np.asarray(ours), X, strict=True):
    for channel in range(3):
      np.testing.assert_allclose(image[..., channel], pillow(reference[..., channel], *shape, method, 24), atol=1e-6)


def test_the_border_is_mirrored():
  plain = pillow(X[0, ..., 0], 6, 9, "bicubic")
  ours = np.asarray(resized(X[:1, ..., :1], 6, 9))[0, ..., 0]
  assert np.abs(plain - ours).max() > 0.01 and np.abs(plain - ours)[2:-2, 2:-2].max() < 1e-6


def test_half_the_size_has_the_weights_of_imresize():
  expected = np.zeros(16)
  expected[4:12] = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
  np.testing.assert_allclose(weights(16, 8, "bicubic")[3] + 0.0, np.roll(expected, -1), atol=1e-7)


def test_an_image_at_its_own_size_is_unchanged():
  for method in FILTERS:
    assert (weights(9, 9, method) == np.eye(9)).all()


def test_a_scale_that_does_not_divide_is_refused():
  with pytest.raises(ConfigError, match="scale=5 must divide both sides of the images, which have 24x36 pixels"):
    Resize(5).shape((24, 36, 3))
  with pytest.raises(ConfigError, match="scale=1 must be 2 or more"):
    Resize(1)
  with pytest.raises(ConfigError, match='method="lanczos" is not one of bicubic, area, nearest'):
    Resize(2, "lanczos")
