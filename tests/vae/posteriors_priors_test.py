"""Posterior, prior and rate against quadrature, scipy and their own draws."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from common import random
from common.build import ConfigError
from vae.objectives import Elbo
from vae.posteriors import DiagonalGaussian, gaussian_log_prob
from vae.priors import StandardNormal, gaussian_kl, rate

MEAN, LOG_VAR = np.array([0.7, -1.2, 0.0]), np.array([-0.5, 0.8, 0.0])


def rows_of(count):
  return random.row_keys(jax.random.key(0), jnp.arange(count))


def test_log_prob_equals_scipy():
  z = np.random.default_rng(0).normal(size=(5, 3))
  expected = stats.norm.logpdf(z, MEAN, np.exp(0.5 * LOG_VAR)).sum(-1)
  np.testing.assert_allclose(gaussian_log_prob(z, MEAN, LOG_VAR), expected, rtol=1e-5)
  np.testing.assert_allclose(StandardNormal(3).log_prob(z), stats.norm.logpdf(z).sum(-1), rtol=1e-5)


@pytest.mark.parametrize(("mean", "log_var"), list(zip(MEAN, LOG_VAR, strict=True)))
def test_gaussian_kl_equals_quadrature(mean, log_var):
  q = stats.norm(mean, np.exp(0.5 * log_var))
  expected, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - stats.norm.logpdf(z)), -20, 20, points=[mean])
  np.testing.assert_allclose(gaussian_kl(jnp.array([[mean]]), jnp.array([[log_var]])), [expected], atol=1e-6)


def test_gaussian_kl_sums_over_latents_and_is_zero_at_the_prior():
  together = gaussian_kl(jnp.array([MEAN]), jnp.array([LOG_VAR]))
  np.testing.assert_allclose(together, [jnp.sum(gaussian_kl(MEAN[:, None], LOG_VAR[:, None]))], rtol=1e-6)
  np.testing.assert_array_equal(gaussian_kl(jnp.zeros((2, 3)), jnp.zeros((2, 3))), [0.0, 0.0])


class OtherPrior(nn.Module):
  """N(0, I) that no closed form is registered for."""

  def log_prob(self, z):
    return gaussian_log_prob(z, 0.0, 0.0)


def test_a_pair_without_closed_form_has_the_same_rate_on_average():
  count = 20_000
  stats_ = jnp.broadcast_to(jnp.concatenate([MEAN, LOG_VAR]), (count, 6))
  posterior = DiagonalGaussian()
  z, log_q = jax.jit(lambda s: posterior.apply({}, s, rows_of(count)))(stats_)
  exact = rate(posterior, StandardNormal(3), stats_, z, log_q)
  estimate = np.asarray(rate(posterior, OtherPrior(), stats_, z, log_q))
  np.testing.assert_array_equal(exact, gaussian_kl(*posterior.split(stats_)))
  assert estimate.std() > 0.1  # one draw each, no closed form
  assert abs(estimate.mean() - float(exact[0])) < 4 * estimate.std() / np.sqrt(count)
  # The same draws have the moments that they claim.
  np.testing.assert_allclose(np.mean(z, 0), MEAN, atol=4 * np.exp(0.5 * LOG_VAR).max() / np.sqrt(count))
  np.testing.assert_allclose(np.log(np.var(z, 0)), LOG_VAR, atol=4 * np.sqrt(2 / count))
  np.testing.assert_allclose(log_q, stats.norm.logpdf(z, MEAN, np.exp(0.5 * LOG_VAR)).sum(-1), rtol=1e-4, atol=1e-4)


def test_a_draw_carries_the_gradient_of_its_mean_and_deviation():
  """dz/dmean = 1 and dz/dlog_var = (z - mean) / 2: the reparameterisation."""
  posterior, rows = DiagonalGaussian(), rows_of(1)

  def draw(stats_):
    return posterior.apply({}, stats_, rows)[0][0]

  at = jnp.concatenate([MEAN, LOG_VAR])[None]
  jacobian = jax.jacobian(draw)(at)[:, 0]
  np.testing.assert_allclose(jacobian[:, :3], np.eye(3), atol=1e-6)
  np.testing.assert_allclose(jacobian[:, 3:], np.diag(np.asarray(draw(at)) - MEAN) / 2, atol=1e-6)


def test_a_clipped_log_variance_in_draw_density_and_rate():
  """As Hardtanh does: the value stays at the edge, and no gradient passes."""
  posterior = DiagonalGaussian(log_var_range=(-6.0, 2.0))
  stats_ = jnp.array([[0.5, -1.0, 0.2, -9.0, 5.0, 1.0]])
  clipped = jnp.array([[0.5, -1.0, 0.2, -6.0, 2.0, 1.0]])
  plain = DiagonalGaussian().apply({}, clipped, rows_of(1))
  jax.tree.map(np.testing.assert_array_equal, posterior.apply({}, stats_, rows_of(1)), plain)
  z, log_q = plain
  np.testing.assert_allclose(
    rate(posterior, StandardNormal(3), stats_, z, log_q), gaussian_kl(clipped[:, :3], clipped[:, 3:]), rtol=1e-6
  )
  gradient = jax.grad(lambda s: jnp.sum(rate(posterior, StandardNormal(3), s, z, log_q)))(stats_)[0]
  assert np.array_equal(gradient != 0, [True, True, True, False, False, True])


@pytest.mark.parametrize("bounds", [(1.0,), (2.0, -6.0), (0.0, 0.0)])
def test_a_wrong_range_of_log_variances_is_an_error(bounds):
  with pytest.raises(ConfigError, match=r"log_var_range=.* must be \(low, high\)"):
    DiagonalGaussian(log_var_range=bounds)


def test_prior_draws_are_standard_normal_and_by_row():
  z = np.asarray(StandardNormal(2).sample(rows_of(2000)))
  assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
  np.testing.assert_array_equal(StandardNormal(2).sample(rows_of(7)), z[:7])


def test_the_elbo_weighs_all_rates_by_beta_of_the_updates():
  distortion, rates = jnp.array([3.0, 4.0]), {"z1": jnp.array([1.0, 2.0]), "z2": jnp.array([0.5, 0.5])}
  np.testing.assert_allclose(Elbo()(distortion, rates, jnp.array(0)), [4.5, 6.5])
  warm_up = Elbo({"name": "linear", "start": 0.0, "end": 1.0, "steps": 10})
  for updates, beta in ((0, 0.0), (5, 0.5), (20, 1.0)):
    np.testing.assert_allclose(warm_up(distortion, rates, jnp.array(updates)), distortion + beta * np.array([1.5, 2.5]))
