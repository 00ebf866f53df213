"""Likelihoods against scipy, by summing over all images, and at the edges."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from common.errors import ConfigError
from vae.likelihoods import Bernoulli, Gaussian, bernoulli_log_prob

UNIT, SIGNED = (0.0, 1.0), (-1.0, 1.0)


def draw(shape, scale=1.0, seed=0):
  return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


def test_bernoulli_sums_to_one_over_all_images():
  images = np.array(list(itertools.product([0.0, 1.0], repeat=4)), np.float32).reshape(16, 2, 2, 1)
  logits = jnp.broadcast_to(draw((1, 2, 2, 1), scale=2.0), images.shape)
  np.testing.assert_allclose(np.sum(np.exp(Bernoulli(UNIT).log_prob(logits, images))), 1.0, rtol=1e-6)


def test_bernoulli_equals_scipy_summed_over_pixels():
  logits = draw((5, 4, 3, 2))
  x = (draw((5, 4, 3, 2), seed=1) > 0).astype(np.float32)
  expected = stats.bernoulli.logpmf(x, expit(logits)).sum(axis=(1, 2, 3))
  np.testing.assert_allclose(Bernoulli(UNIT).log_prob(logits, x), expected, rtol=1e-5)
  np.testing.assert_allclose(Bernoulli(UNIT).mean(logits), expit(logits), rtol=1e-6)


@pytest.mark.parametrize("pixels", [784, 96, 49, 1])
@pytest.mark.parametrize("scale", [0.1, 5.0, 50.0, 1e4])
def test_bernoulli_at_any_number_of_pixels_and_size_of_logits(pixels, scale):
  """Sixteen pixels share a logarithm: as exact as one each, in float32 of the sum, where factors are 2 and where 1."""
  logits = draw((20, pixels), scale)
  for x in (np.zeros((20, pixels)), (draw((20, pixels), seed=1) > 0), np.ones((20, pixels))):
    exact = np.sum(x * logits.astype(np.float64) - np.logaddexp(0.0, logits.astype(np.float64)), axis=1)
    actual = jax.jit(bernoulli_log_prob)(logits, x.astype(np.float32))
    np.testing.assert_allclose(actual, exact, rtol=1e-6, atol=6e-8 * pixels + 1e-7)


def test_the_gradients_of_bernoulli_are_exact_in_logits_and_pixels():
  logits, x = draw((3, 32), scale=8.0), np.abs(draw((3, 32), seed=1)) % 1
  weights = draw((3,), seed=2)
  by_logits, by_x = jax.grad(lambda a, b: jnp.sum(weights * bernoulli_log_prob(a, b)), (0, 1))(logits, x)
  np.testing.assert_allclose(by_logits, weights[:, None] * (x - expit(logits.astype(np.float64))), rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(by_x, weights[:, None] * logits, rtol=1e-6)


def test_bernoulli_needs_the_unit_range():
  with pytest.raises(ConfigError, match=r'"bernoulli" needs config.data.pixel_range=\(0\.0, 1\.0\)'):
    Bernoulli(SIGNED)


@pytest.mark.parametrize("pixel_range", [UNIT, SIGNED])
def test_gaussian_of_one_sigma_equals_scipy(pixel_range):
  params, x = draw((5, 4, 3, 2)), draw((5, 4, 3, 2), seed=1)
  mean = expit(params) if pixel_range == UNIT else np.tanh(params)
  likelihood = Gaussian(pixel_range, sigma=0.3)
  expected = stats.norm.logpdf(x, mean, 0.3).sum(axis=(1, 2, 3))
  np.testing.assert_allclose(likelihood.log_prob(params, x), expected, rtol=1e-5)
  np.testing.assert_allclose(likelihood.mean(params), mean, atol=1e-6)


def test_gaussian_of_learned_sigma_equals_scipy():
  """The first half of the channels are means, the second log-variances above a smooth floor."""
  params, x = draw((5, 4, 3, 4), scale=2.0), draw((5, 4, 3, 2), seed=1)
  log_var = -7.0 + np.logaddexp(0.0, params[..., 2:].astype(np.float64) + 7.0)
  expected = stats.norm.logpdf(x, expit(params[..., :2]), np.exp(0.5 * log_var)).sum(axis=(1, 2, 3))
  likelihood = Gaussian(UNIT)
  assert likelihood.num_params == 2
  np.testing.assert_allclose(likelihood.log_prob(params, x), expected, rtol=1e-4)
  np.testing.assert_allclose(likelihood.mean(params), expit(params[..., :2]), atol=1e-6)


def test_the_variance_has_a_floor():
  """Without one the density of a perfect reconstruction is unbounded."""
  params = jnp.full((1, 1, 1, 2), -1e4).at[..., 0].set(0.0)
  bound = stats.norm.logpdf(0.5, 0.5, np.exp(-3.5))
  np.testing.assert_allclose(Gaussian(UNIT).log_prob(params, jnp.full((1, 1, 1, 1), 0.5)), [bound], rtol=1e-5)


@pytest.mark.parametrize("likelihood", [Bernoulli(UNIT), Gaussian(UNIT, sigma=0.1), Gaussian(UNIT)], ids=str)
def test_gradients_at_extreme_logits_are_finite(likelihood):
  params = jnp.array([-1e4, 0.0, 1e4])[:, None, None, None]
  params = jnp.concatenate([params] * likelihood.num_params, axis=-1)
  for x in (jnp.zeros((3, 1, 1, 1)), jnp.ones((3, 1, 1, 1))):
    value, grads = jax.value_and_grad(lambda p, x=x: jnp.sum(likelihood.log_prob(p, x)))(params)
    assert np.isfinite(value) and np.all(np.isfinite(grads))
