import jax
import jax.numpy as jnp
import numpy as np

from common import random
from common.data.degradations.noise import GaussianNoise, PoissonNoise, quantised

KEYS = random.row_keys(jax.random.key(0), jnp.arange(400))
GREY = jnp.full((400, 8, 8, 3), 0.5)


def test_gaussian_noise_has_its_deviation_and_is_not_clipped():
  noise = np.asarray(GaussianNoise(25.0)(GREY, KEYS)) - 0.5
  assert abs(noise.std() * 255 - 25) < 0.3 and abs(noise.mean()) < 1e-3
  assert GaussianNoise(55.0)(GREY * 2, KEYS).max() > 1.5


def test_each_image_draws_its_deviation_from_the_range():
  deviations = 255 * np.asarray(GaussianNoise((0.0, 50.0))(GREY, KEYS)).std(axis=(1, 2, 3))
  assert deviations.min() < 2 and 46 < deviations.max() < 58 and abs(deviations.mean() - 25) < 2.5


def test_the_variance_of_photons_is_their_mean():
  count = jax.jit(PoissonNoise(30.0))
  for light in (0.02, 0.5, 1.0):
    counted = np.asarray(count(GREY * 2 * light, KEYS))
    assert abs(counted.mean() - light) < 2e-3 and abs(counted.var() * 30 / light - 1) < 0.03
    np.testing.assert_allclose(counted * 30, np.round(counted * 30), atol=1e-4)


def test_eight_bits_are_clipped_and_halves_are_rounded_up():
  x = np.array([-0.2, 0.0, 0.4, 0.49999, 0.5, 1.5, 2.49, 2.5, 254.6, 300.0]) / 255
  done = np.asarray(quantised(jnp.array(x, jnp.float32))) * 255
  np.testing.assert_allclose(done, [0, 0, 0, 1, 1, 2, 2, 3, 255, 255], atol=1e-4)
  levels = np.arange(256, dtype=np.float32) / 255
  np.testing.assert_allclose(quantised(levels), levels, atol=1e-7)
