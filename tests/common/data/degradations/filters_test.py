"""Blurs beside scipy's correlation with kernels from formulas of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, special, stats

from common import random
from common.data.degradations import filters
from common.data.degradations.degradation import Degradation
from common.errors import ConfigError

X = np.random.RandomState(0).rand(2, 24, 17, 3).astype(np.float32)
KEYS = random.row_keys(jax.random.key(0), jnp.arange(2))
PLACES = np.stack(np.meshgrid(np.arange(-10, 11), np.arange(-10, 11)), axis=-1)  # of a kernel of 21, (x, y)


def applied(degradation: Degradation) -> np.ndarray:
  return np.asarray(jax.jit(degradation)(X, KEYS))


def correlated(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
  return np.stack([ndimage.correlate(x[..., c], kernel / kernel.sum(), mode="mirror") for c in range(3)], axis=-1)


def test_a_gaussian_equals_scipy():
  ours = applied(filters.GaussianBlur(1.6))
  for image, x in zip(ours, X, strict=True):
    np.testing.assert_allclose(image, ndimage.gaussian_filter(x, (1.6, 1.6, 0), mode="mirror"), atol=2e-6)


def test_each_image_has_its_own_deviation_of_the_range():
  sigmas = filters.drawn((0.0, 3.0), KEYS, "sigma")
  assert sigmas[0] != sigmas[1]
  for image, x, sigma in zip(applied(filters.GaussianBlur((0.0, 3.0))), X, sigmas, strict=True):
    expected = ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="mirror", radius=12)
    np.testing.assert_allclose(image, expected, atol=2e-6)


def test_no_deviation_changes_nothing():
  np.testing.assert_allclose(applied(filters.GaussianBlur(0.0)), X, atol=2e-6)


def test_an_anisotropic_kernel_is_the_density_of_a_turned_normal():
  first, second, angle = jnp.array([3.0]), jnp.array([1.0]), jnp.array([np.pi / 6])
  ours = np.exp(-0.5 * filters.quadratic(first, second, angle, 21)[0])
  axis = np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])  # of the large deviation
  covariance = 9.0 * np.outer(axis, axis) + 1.0 * (np.eye(2) - np.outer(axis, axis))
  density = stats.multivariate_normal([0, 0], covariance).pdf(PLACES)
  np.testing.assert_allclose(ours / ours.sum(), density / density.sum(), atol=1e-7)


@pytest.mark.parametrize(("length", "angle"), [(5.0, 0.0), (5.0, 90.0), (9.0, 30.0), (6.5, -45.0)])
def test_motion_blur_is_near_the_line(length, angle):
  direction = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
  line = np.linspace(-(length - 1) / 2, (length - 1) / 2, 4001)[:, None] * direction
  distance = np.array([np.hypot(*(place - line).T).min() for place in PLACES.reshape(-1, 2)])
  kernel = np.maximum(1.0 - distance.reshape(21, 21), 0.0)
  for image, x in zip(applied(filters.MotionBlur(length, angle)), X, strict=True):
    np.testing.assert_allclose(image, correlated(x, kernel), atol=2e-4)


def test_motion_along_a_line_is_a_mean_of_neighbours():
  ours = applied(filters.MotionBlur(5.0, 0.0))
  np.testing.assert_allclose(ours[:, :, 2:-2], np.mean([X[:, :, k : k + 13] for k in range(5)], axis=0), atol=2e-6)


def test_sinc_has_bessel_s_function():
  cutoff, r = 2.0, np.hypot(PLACES[..., 0], PLACES[..., 1])
  with np.errstate(invalid="ignore"):
    kernel = np.where(r > 0, cutoff * special.j1(cutoff * r) / (2 * np.pi * r), cutoff**2 / (4 * np.pi))
  np.testing.assert_allclose(
    jax.jit(lambda cutoff: filters.sinc(cutoff, 21))(jnp.array([cutoff]))[0], kernel, atol=2e-6
  )


def test_sharpening_keeps_flat_parts_and_raises_edges():
  x = np.full((1, 64, 64, 1), 0.3, np.float32)
  x[:, :, 32:] = 0.7
  ours, x = np.asarray(jax.jit(filters.sharpened)(x))[0, 32, :, 0], x[0, 32, :, 0]
  settings = {"sigma": 8.0, "mode": "mirror", "radius": 25}
  blur = ndimage.gaussian_filter1d(x, **settings)
  mask = ndimage.gaussian_filter1d((np.abs(x - blur) > 10 / 255).astype(np.float32), **settings)
  expected = x + mask * 0.5 * (x - blur)
  np.testing.assert_allclose(ours, expected, atol=2e-6)
  assert ours[31] < 0.25 and ours[32] > 0.75


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: filters.GaussianBlur((3.0, 1.0)), "sigma=(3.0, 1.0) must be in [0, 32]"),
    (lambda: filters.MotionBlur(0.5), "length=0.5 must be in [1, 63]"),
  ],
)
def test_a_wrong_number_is_refused(make, message):
  with pytest.raises(ConfigError) as error:
    make()
  assert message in str(error.value)
