import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import random
from common.build import build
from common.errors import ConfigError
from vae.corruptions import CORRUPTIONS, Corruption

KEYS = random.row_keys(jax.random.key(0), jnp.arange(50))


def seen(pixel_range, x, **section):
  degradation = build(CORRUPTIONS, section, "corruption", pixel_range=pixel_range)
  return np.asarray(Corruption(degradation, x.shape[1:], pixel_range)(x, KEYS))


@pytest.mark.parametrize("pixel_range", [(0.0, 1.0), (-1.0, 1.0)])
def test_they_are_in_units_of_the_pixel_range(pixel_range):
  low, high = pixel_range
  x = jnp.full((50, 8, 8, 3), low + 0.75 * (high - low))
  noise = seen(pixel_range, x, name="gaussian", sigma=0.1) - x
  assert abs(noise.std() - 0.1) < 0.002
  masked = seen(pixel_range, x, name="masking", probability=0.3)
  hole = masked[..., :1] == low
  np.testing.assert_array_equal(masked, np.where(hole, low, x))
  assert abs(hole.mean() - 0.3) < 0.02
  np.testing.assert_allclose(seen(pixel_range, x, name="gaussian_blur", sigma=1.0), x, atol=1e-5)
  np.testing.assert_array_equal(seen(pixel_range, x, name="none"), x)


def test_one_that_changes_the_shape_is_refused():
  with pytest.raises(ConfigError, match=r"config.corruption makes \(8, 8, 4\) of images of \(8, 8, 3\)"):
    seen((0.0, 1.0), jnp.zeros((50, 8, 8, 3)), name="pixels")
