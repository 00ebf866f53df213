"""Every likelihood: it sums or integrates to 1, its mean is the expectation, its gradients are finite at extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from vae.likelihoods import LIKELIHOODS
from vae.likelihoods.discrete import LEVELS, logistic_log_prob

UNIT, SIGNED = (0.0, 1.0), (-1.0, 1.0)
DISCRETE = {"discretized_logistic": {}}
REAL = {"gaussian": {}, "shared_gaussian": {"sigma": 0.3}}


def made(name, pixel_range, **settings):
  """(log_prob, mean) of a likelihood with its parameters as they start."""
  module = LIKELIHOODS[name](pixel_range=pixel_range, **settings)
  pixel = jnp.zeros((1, 1, 1, 1))
  variables = module.init(jax.random.key(0), jnp.zeros((1, 1, 1, module.num_params)), pixel, method="log_prob")
  bind = lambda method: jax.jit(lambda params, *x: module.apply(variables, params, *x, method=method))  # noqa: E731
  return module, bind("log_prob"), bind("mean")


def params_of(module, seed, scale=1.0):
  """Parameters of a pixel of one channel, [1, 1, 1, num_params]."""
  return np.random.default_rng(seed).normal(scale=scale, size=(1, 1, 1, module.num_params)).astype(np.float32)


def test_no_likelihood_is_left_out():
  assert set(LIKELIHOODS) == {"bernoulli", *DISCRETE, *REAL}


@pytest.mark.parametrize("pixel_range", [UNIT, SIGNED])
@pytest.mark.parametrize("name", DISCRETE)
def test_the_levels_of_a_pixel_sum_to_one(name, pixel_range):
  module, log_prob, mean = made(name, pixel_range, **DISCRETE[name])
  low, high = pixel_range
  x = (low + np.arange(LEVELS) / 255 * (high - low)).astype(np.float32).reshape(-1, 1, 1, 1)
  for seed, scale in ((0, 0.3), (1, 2.0), (2, 6.0)):
    params = params_of(module, seed, scale)
    p = np.exp(np.asarray(log_prob(np.broadcast_to(params, (LEVELS, *params.shape[1:])), x), np.float64))
    np.testing.assert_allclose(np.sum(p), 1.0, atol=2e-5)
    np.testing.assert_allclose(mean(params).item(), np.sum(p * x.ravel()), atol=2e-4 * (high - low))


@pytest.mark.parametrize("name", REAL)
def test_the_density_of_a_pixel_integrates_to_one(name):
  module, log_prob, mean = made(name, UNIT, **REAL[name])
  x = np.linspace(-30.0, 30.0, 40_001, dtype=np.float32).reshape(-1, 1, 1, 1)
  for seed, scale in ((0, 0.01), (1, 0.5), (2, 3.0)):
    params = params_of(module, seed, scale)
    p = np.exp(np.asarray(log_prob(np.broadcast_to(params, (len(x), *params.shape[1:])), x), np.float64))
    np.testing.assert_allclose(integrate.simpson(p, x=x.ravel()), 1.0, atol=1e-4)
    np.testing.assert_allclose(mean(params).item(), integrate.simpson(p * x.ravel(), x=x.ravel()), atol=2e-4)


def test_a_logistics_bins_equal_differences_of_its_cdf_far_into_the_tails():
  level = np.arange(1, 255)
  for mean, scale in ((0.1, 0.02), (-3.0, 0.1), (0.9, 2.0)):
    edges = 2 * (np.arange(1, 256) - 0.5) / 255 - 1
    # From the tail in which the difference keeps its digits.
    cdf, sf = stats.logistic.cdf(edges, mean, scale), stats.logistic.sf(edges, mean, scale)
    exact = np.log(np.where(edges[:-1] > mean, sf[:-1] - sf[1:], cdf[1:] - cdf[:-1]))
    actual = logistic_log_prob(level.astype(np.float32), jnp.float32(mean), jnp.log(jnp.float32(scale)))
    np.testing.assert_allclose(actual, exact, rtol=2e-4, atol=2e-4)


def test_pixels_and_channels_add_up():
  for name in ("discretized_logistic", "shared_gaussian"):
    module, log_prob, _ = made(name, UNIT)
    rng = np.random.default_rng(0)
    params = rng.normal(size=(2, 3, 2, 1 * module.num_params)).astype(np.float32)
    x = (rng.integers(0, 256, (2, 3, 2, 1)) / 255).astype(np.float32)
    pixels = log_prob(params.reshape(-1, 1, 1, module.num_params), x.reshape(-1, 1, 1, 1))
    np.testing.assert_allclose(log_prob(params, x), np.sum(np.reshape(pixels, (2, 6)), axis=1), rtol=1e-5)


@pytest.mark.parametrize("name", [*DISCRETE, *REAL])
def test_values_and_gradients_are_finite_at_extremes(name):
  module, log_prob, _ = made(name, UNIT, **{**DISCRETE, **REAL}.get(name, {}))
  rows = np.stack([np.full(module.num_params, v) for v in (-1e4, -30.0, -1e-6, 0.0, 0.0999, 0.1001, 30.0, 1e4)])
  params = np.repeat(rows, 3, axis=0).astype(np.float32)[:, None, None, :]
  x = np.tile([0.0, 100 / 255, 1.0], 8).astype(np.float32).reshape(-1, 1, 1, 1)
  gradient = jax.jit(jax.grad(lambda p: jnp.sum(log_prob(p, x))))(params)
  assert np.all(np.isfinite(log_prob(params, x))) and np.all(np.isfinite(gradient))
