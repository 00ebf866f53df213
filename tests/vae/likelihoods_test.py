"""Likelihoods equal scipy or sum to 1, and stay finite at the edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from common.build import build
from common.errors import ConfigError
from vae.likelihoods import LEVELS, LIKELIHOODS, Bernoulli, Gaussian, bernoulli_log_prob, log_prob_of, logistic_log_prob

UNIT, SIGNED = (0.0, 1.0), (-1.0, 1.0)
SETTINGS = {
  "bernoulli": {},
  "discretized_logistic": {},
  "gaussian": {},
  "laplace": {"scale": 0.2},
  "shared_gaussian": {"sigma": 0.3},
}


def draw(shape, scale=1.0, seed=0):
  return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


def made(name, pixel_range=UNIT, **settings):
  """(module, log_prob, mean) of a likelihood with its parameters as they start."""
  section = {"name": name, **SETTINGS[name], **settings}
  module = build(LIKELIHOODS, section, "likelihood", pixel_range=pixel_range)
  pixel = jnp.zeros((1, 1, 1, 1))
  variables = module.init(jax.random.key(0), jnp.zeros((1, 1, 1, module.num_params)), pixel, method="log_prob")
  bind = lambda method: jax.jit(lambda params, *x: module.apply(variables, params, *x, method=method))  # noqa: E731
  return module, bind("log_prob"), bind("mean")


def test_no_likelihood_is_left_out():
  assert set(LIKELIHOODS) == set(SETTINGS)


@pytest.mark.parametrize("pixel_range", [UNIT, SIGNED])
def test_the_levels_of_a_pixel_sum_to_one(pixel_range):
  module, log_prob, mean = made("discretized_logistic", pixel_range)
  low, high = pixel_range
  x = (low + np.arange(LEVELS) / 255 * (high - low)).astype(np.float32).reshape(-1, 1, 1, 1)
  for seed, scale in ((0, 0.3), (1, 2.0), (2, 6.0)):
    params = draw((1, 1, 1, module.num_params), scale, seed)
    p = np.exp(np.asarray(log_prob(np.broadcast_to(params, (LEVELS, *params.shape[1:])), x), np.float64))
    np.testing.assert_allclose(np.sum(p), 1.0, atol=2e-5)
    np.testing.assert_allclose(mean(params).item(), np.sum(p * x.ravel()), atol=2e-4 * (high - low))


def test_a_logistics_bins_equal_differences_of_its_cdf_far_into_the_tails():
  level = np.arange(1, 255)
  for mean, scale in ((0.1, 0.02), (-3.0, 0.1), (0.9, 2.0)):
    edges = 2 * (np.arange(1, 256) - 0.5) / 255 - 1
    # From the tail in which the difference keeps its digits.
    cdf, sf = stats.logistic.cdf(edges, mean, scale), stats.logistic.sf(edges, mean, scale)
    exact = np.log(np.where(edges[:-1] > mean, sf[:-1] - sf[1:], cdf[1:] - cdf[:-1]))
    actual = logistic_log_prob(level.astype(np.float32), jnp.float32(mean), jnp.log(jnp.float32(scale)))
    np.testing.assert_allclose(actual, exact, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_density_of_a_hole_is_that_of_its_pixels_cut_out(name):
  module, log_prob, _ = made(name)
  params, x = draw((3, 4, 5, 2 * module.num_params)), (draw((3, 4, 5, 2), seed=1) > 0).astype(np.float32)
  hole = np.zeros((3, 4, 5, 1), bool)
  hole[:, 1:3, 2:] = True
  variables = module.init(jax.random.key(0), params, x, method="log_prob")
  found = module.apply(variables, params, x, method=lambda m, p, x: log_prob_of(hole, m, p, x))
  np.testing.assert_allclose(found, log_prob(params[:, 1:3, 2:], x[:, 1:3, 2:]), rtol=1e-4)


@pytest.mark.parametrize("name", SETTINGS)
def test_pixels_add_up_and_values_and_gradients_are_finite_at_extremes(name):
  module, log_prob, _ = made(name)
  params, x = draw((2, 3, 2, module.num_params)), (draw((2, 3, 2, 1), seed=1) > 0).astype(np.float32)
  pixels = log_prob(params.reshape(-1, 1, 1, module.num_params), x.reshape(-1, 1, 1, 1))
  np.testing.assert_allclose(log_prob(params, x), np.sum(np.reshape(pixels, (2, 6)), axis=1), rtol=1e-5)
  rows = np.stack([np.full(module.num_params, v) for v in (-1e4, -30.0, -1e-6, 0.0, 0.0999, 0.1001, 30.0, 1e4)])
  params = np.repeat(rows, 3, axis=0).astype(np.float32)[:, None, None, :]
  x = np.tile([0.0, 100 / 255, 1.0], 8).astype(np.float32).reshape(-1, 1, 1, 1)
  gradient = jax.jit(jax.grad(lambda p: jnp.sum(log_prob(p, x))))(params)
  assert np.all(np.isfinite(log_prob(params, x))) and np.all(np.isfinite(gradient))


@pytest.mark.parametrize("pixels", [784, 96, 49, 1])
@pytest.mark.parametrize("scale", [0.1, 5.0, 50.0, 1e4])
def test_bernoulli_at_any_number_of_pixels_and_size_of_logits(pixels, scale):
  """Sixteen pixels share a logarithm: as exact as one each, in float32 of the sum, where factors are 2 and where 1."""
  logits = draw((20, pixels), scale)
  for x in (np.zeros((20, pixels)), (draw((20, pixels), seed=1) > 0), np.ones((20, pixels))):
    exact = np.sum(x * logits.astype(np.float64) - np.logaddexp(0.0, logits.astype(np.float64)), axis=1)
    actual = jax.jit(bernoulli_log_prob)(logits, x.astype(np.float32))
    np.testing.assert_allclose(actual, exact, rtol=1e-6, atol=6e-8 * pixels + 1e-7)


def test_the_gradients_and_the_mean_of_bernoulli():
  logits, x = draw((3, 32), scale=8.0), np.abs(draw((3, 32), seed=1)) % 1
  weights = draw((3,), seed=2)
  by_logits, by_x = jax.grad(lambda a, b: jnp.sum(weights * bernoulli_log_prob(a, b)), (0, 1))(logits, x)
  np.testing.assert_allclose(by_logits, weights[:, None] * (x - expit(logits.astype(np.float64))), rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(by_x, weights[:, None] * logits, rtol=1e-6)
  np.testing.assert_allclose(Bernoulli(UNIT).mean(logits), expit(logits), rtol=1e-6)
  with pytest.raises(ConfigError, match=r'"bernoulli" needs config.data.pixel_range=\(0\.0, 1\.0\)'):
    Bernoulli(SIGNED)


@pytest.mark.parametrize("pixel_range", [UNIT, SIGNED])
def test_gaussian_of_one_sigma_equals_scipy(pixel_range):
  params, x = draw((5, 4, 3, 2)), draw((5, 4, 3, 2), seed=1)
  mean = expit(params) if pixel_range == UNIT else np.tanh(params)
  expected = stats.norm.logpdf(x, mean, 0.3).sum(axis=(1, 2, 3))
  for name in ("gaussian", "shared_gaussian"):
    _, log_prob, mean_of = made(name, pixel_range, sigma=0.3)
    np.testing.assert_allclose(log_prob(params, x), expected, rtol=1e-4)
    np.testing.assert_allclose(mean_of(params), mean, atol=1e-6)


def test_laplace_equals_scipy():
  _, log_prob, mean = made("laplace", SIGNED)
  params, x = draw((3, 4, 2, 1)), draw((3, 4, 2, 1), seed=1)
  expected = stats.laplace.logpdf(x, params, 0.2).sum(axis=(1, 2, 3))
  np.testing.assert_allclose(log_prob(params, x), expected, rtol=1e-5)
  np.testing.assert_array_equal(mean(params), params)
  with pytest.raises(ConfigError, match=r"scale=0\.0 must be above 0"):
    made("laplace", scale=0.0)


def test_gaussian_of_learned_sigma_equals_scipy():
  """The first half of the channels are means, the second log-variances above a smooth floor.

  Without a floor the density of a perfect reconstruction is unbounded.
  """
  params, x = draw((5, 4, 3, 4), scale=2.0), draw((5, 4, 3, 2), seed=1)
  params[0, ..., 2:] = -1e4
  log_var = -7.0 + np.logaddexp(0.0, params[..., 2:].astype(np.float64) + 7.0)
  expected = stats.norm.logpdf(x, expit(params[..., :2]), np.exp(0.5 * log_var)).sum(axis=(1, 2, 3))
  np.testing.assert_allclose(Gaussian(UNIT).log_prob(params, x), expected, rtol=1e-4)
  np.testing.assert_allclose(Gaussian(UNIT).mean(params), expit(params[..., :2]), atol=1e-6)
