"""Posteriors and priors against quadrature, scipy and their own draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from common import random
from common.errors import ConfigError
from vae.gaussian import Normal, gaussian_kl, gaussian_log_prob
from vae.posteriors import DiagonalGaussian
from vae.priors import GaussianMixture, StandardNormal, VampPrior

MEAN, LOG_VAR = np.array([0.7, -1.2, 0.0]), np.array([-0.5, 0.8, 0.0])


STANDARD = Normal(jnp.zeros(3), jnp.zeros(3))


def rows_of(count):
  return random.row_keys(jax.random.key(0), jnp.arange(count))


def test_log_prob_equals_scipy():
  z = np.random.default_rng(0).normal(size=(5, 3))
  expected = stats.norm.logpdf(z, MEAN, np.exp(0.5 * LOG_VAR)).sum(-1)
  np.testing.assert_allclose(gaussian_log_prob(z, MEAN, LOG_VAR), expected, rtol=1e-5)
  np.testing.assert_allclose(StandardNormal(3)(None).log_prob(z), stats.norm.logpdf(z).sum(-1), rtol=1e-5)


@pytest.mark.parametrize("prior", [(0.0, 0.0), (0.4, -1.0)])
@pytest.mark.parametrize(("mean", "log_var"), list(zip(MEAN, LOG_VAR, strict=True)))
def test_gaussian_kl_equals_quadrature(mean, log_var, prior):
  q, p = stats.norm(mean, np.exp(0.5 * log_var)), stats.norm(prior[0], np.exp(0.5 * prior[1]))
  expected, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -20, 20, points=[mean])
  actual = gaussian_kl(jnp.array([[mean]]), jnp.array([[log_var]]), Normal(*(jnp.array([v]) for v in prior)))
  np.testing.assert_allclose(actual, [expected], atol=2e-6)


def test_gaussian_kl_sums_over_latents_and_is_zero_at_the_prior():
  one = Normal(jnp.zeros(1), jnp.zeros(1))
  together = gaussian_kl(jnp.array([MEAN]), jnp.array([LOG_VAR]), STANDARD)
  np.testing.assert_allclose(together, [jnp.sum(gaussian_kl(MEAN[:, None], LOG_VAR[:, None], one))], rtol=1e-6)
  np.testing.assert_array_equal(gaussian_kl(jnp.zeros((2, 3)), jnp.zeros((2, 3)), STANDARD), [0.0, 0.0])


def test_draws_have_the_moments_and_densities_that_they_claim():
  count = 20_000
  stats_ = jnp.broadcast_to(jnp.concatenate([MEAN, LOG_VAR]), (count, 6))
  draw = jax.jit(lambda s: DiagonalGaussian().apply({}, s, rows_of(count), train=True))(stats_)
  np.testing.assert_allclose(np.mean(draw.z, 0), MEAN, atol=4 * np.exp(0.5 * LOG_VAR).max() / np.sqrt(count))
  np.testing.assert_allclose(np.log(np.var(draw.z, 0)), LOG_VAR, atol=4 * np.sqrt(2 / count))
  expected = stats.norm.logpdf(draw.z, MEAN, np.exp(0.5 * LOG_VAR)).sum(-1)
  np.testing.assert_allclose(draw.log_q, expected, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(DiagonalGaussian().log_prob(draw.z, stats_), expected, rtol=1e-4, atol=1e-4)


def test_a_softplus_deviation_is_that_of_the_authors_code():
  """sd = 1e-6 + log(1 + e^s) (daib13/TwoStageVAE, network/two_stage_vae_model.py)."""
  second = np.array([-30.0, 0.0, 4.0])
  mean, log_var = DiagonalGaussian(softplus=True).split(jnp.concatenate([MEAN, second])[None])
  np.testing.assert_allclose(np.exp(0.5 * log_var[0]), 1e-6 + np.log1p(np.exp(second)), rtol=1e-5)
  np.testing.assert_allclose(mean[0], MEAN, rtol=1e-6)


def test_a_draw_carries_the_gradient_of_its_mean_and_deviation():
  """dz/dmean = 1 and dz/dlog_var = (z - mean) / 2: the reparameterisation."""
  posterior, rows = DiagonalGaussian(), rows_of(1)

  def draw(stats_):
    return posterior.apply({}, stats_, rows, train=True).z[0]

  at = jnp.concatenate([MEAN, LOG_VAR])[None]
  jacobian = jax.jacobian(draw)(at)[:, 0]
  np.testing.assert_allclose(jacobian[:, :3], np.eye(3), atol=1e-6)
  np.testing.assert_allclose(jacobian[:, 3:], np.diag(np.asarray(draw(at)) - MEAN) / 2, atol=1e-6)


def test_a_clipped_log_variance_in_draw_density_and_rate():
  """As Hardtanh does: the value stays at the edge, and no gradient passes."""
  posterior = DiagonalGaussian(log_var_range=(-6.0, 2.0))
  stats_ = jnp.array([[0.5, -1.0, 0.2, -9.0, 5.0, 1.0]])
  clipped = jnp.array([[0.5, -1.0, 0.2, -6.0, 2.0, 1.0]])
  plain = DiagonalGaussian().apply({}, clipped, rows_of(1), train=True)
  jax.tree.map(np.testing.assert_array_equal, posterior.apply({}, stats_, rows_of(1), train=True), plain)
  gradient = jax.grad(lambda s: jnp.sum(gaussian_kl(*posterior.split(s), STANDARD)))(stats_)[0]
  assert np.array_equal(gradient != 0, [True, True, True, False, False, True])


@pytest.mark.parametrize("bounds", [(1.0,), (2.0, -6.0), (0.0, 0.0)])
def test_a_wrong_range_of_log_variances_is_an_error(bounds):
  with pytest.raises(ConfigError, match=r"log_var_range=.* must be \(low, high\)"):
    DiagonalGaussian(log_var_range=bounds)


def test_prior_draws_are_standard_normal_and_by_row():
  z = np.asarray(StandardNormal(2)(None).sample(rows_of(2000)))
  assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
  np.testing.assert_array_equal(StandardNormal(2)(None).sample(rows_of(7)), z[:7])


def test_a_mixture_equals_scipy_and_its_draws_follow_it():
  weight, mean = np.array([0.2, 0.5, 0.3]), np.array([[-2.0, 0.0], [1.0, 1.0], [3.0, -1.0]])
  log_var = np.log(np.array([[0.5, 1.0], [0.1, 0.2], [1.0, 0.3]]))
  mixture = GaussianMixture(*map(jnp.asarray, (np.log(weight), mean, log_var)))
  z = np.random.default_rng(0).normal(size=(4, 5, 2))
  parts = [stats.norm.pdf(z, m, np.exp(0.5 * v)).prod(-1) for m, v in zip(mean, log_var, strict=True)]
  expected = np.log(np.tensordot(weight, parts, 1))
  np.testing.assert_allclose(mixture.log_prob(jnp.asarray(z)), expected, rtol=1e-5)
  draws = np.asarray(jax.jit(mixture.sample)(rows_of(5000)))
  cdf = lambda x: sum(w * stats.norm.cdf(x, m[0], np.exp(0.5 * v[0])) for w, m, v in zip(weight, mean, log_var))  # noqa: E731, B905
  assert stats.kstest(draws[:, 0], cdf).pvalue > 1e-3
  np.testing.assert_allclose(mixture.sample(rows_of(7)), draws[:7], rtol=1e-6)


def test_vampprior_is_the_mean_of_the_posteriors_of_its_pseudo_inputs():
  """In draws too, whose components are all of them and not the first (a published bug); inputs are clipped."""
  module = VampPrior(z_dim=1, image_shape=(1, 1, 2), pixel_range=(0.0, 1.0), components=4)
  inputs = jnp.array([[-1.0, 0.5], [0.0, 1.0], [2.0, 0.2], [0.3, 0.9]]).reshape(4, 1, 1, 2)
  encode = lambda x: (10.0 * x[:, 0, 0, :1], -2.0 + x[:, 0, 0, 1:])  # noqa: E731
  prior = module.apply({"params": {"pseudo_inputs": inputs}}, encode)
  mean, log_var = np.array([0.0, 0.0, 10.0, 3.0]), np.array([-1.5, -1.0, -1.8, -1.1])
  z = np.linspace(-1, 11, 7)[:, None]
  expected = np.log(np.mean(stats.norm.pdf(z, mean, np.exp(0.5 * log_var)), axis=1))
  np.testing.assert_allclose(prior.log_prob(jnp.asarray(z)), expected, rtol=1e-4)
  draws = np.asarray(jax.jit(prior.sample)(rows_of(4000)))[:, 0]
  cdf = lambda x: np.mean(stats.norm.cdf(np.asarray(x)[..., None], mean, np.exp(0.5 * log_var)), axis=-1)  # noqa: E731
  assert stats.kstest(draws, cdf).pvalue > 1e-3


def test_pseudo_inputs_start_as_stated():
  module = VampPrior(z_dim=1, image_shape=(28, 28, 1), pixel_range=(0.0, 1.0), components=50)
  params = module.init(jax.random.key(0), lambda x: (x[:, 0, 0], x[:, 0, 0]))["params"]["pseudo_inputs"]
  assert params.shape == (50, 28, 28, 1)
  assert abs(np.mean(params) - 0.05) < 2e-4 and abs(np.std(params) - 0.01) < 2e-4
