"""The Gaussian posterior and the priors against quadrature, scipy and their own draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from common.errors import ConfigError
from tests.vae.tiny_model import keys_of
from vae.gaussian import Normal, gaussian_kl, gaussian_log_prob
from vae.posteriors import DiagonalGaussian
from vae.priors import ConditionalNormal, GaussianMixture, StandardNormal, UniformCodes, VampPrior

MEAN, LOG_VAR = np.array([0.7, -1.2, 0.0]), np.array([-0.5, 0.8, 0.0])


def mixture_cdf(weight, mean, log_var):
  return lambda x: np.sum(weight * stats.norm.cdf(np.asarray(x)[..., None], mean, np.exp(0.5 * log_var)), axis=-1)


def test_gaussian_kl_equals_quadrature_and_sums_over_latents():
  for prior in ((0.0, 0.0), (0.4, -1.0)):
    expected = []
    for mean, log_var in zip(MEAN, LOG_VAR, strict=True):
      q, p = stats.norm(mean, np.exp(0.5 * log_var)), stats.norm(prior[0], np.exp(0.5 * prior[1]))
      gap = lambda z, q=q, p=p: q.pdf(z) * (q.logpdf(z) - p.logpdf(z))  # noqa: E731
      expected.append(integrate.quad(gap, -20, 20, points=[mean])[0])
    of_each = gaussian_kl(MEAN[:, None], LOG_VAR[:, None], Normal(*(jnp.array([v]) for v in prior)))
    np.testing.assert_allclose(of_each, expected, atol=2e-6)
    whole = gaussian_kl(jnp.array([MEAN]), jnp.array([LOG_VAR]), Normal(*(jnp.full(3, v) for v in prior)))
    np.testing.assert_allclose(whole, [np.sum(expected)], rtol=1e-5)


def test_draws_have_the_moments_and_densities_that_they_claim():
  count = 20_000
  stats_ = jnp.broadcast_to(jnp.concatenate([MEAN, LOG_VAR]), (count, 6))
  draw = jax.jit(lambda s: DiagonalGaussian().apply({}, s, keys_of(count), train=True))(stats_)
  np.testing.assert_allclose(np.mean(draw.z, 0), MEAN, atol=4 * np.exp(0.5 * LOG_VAR).max() / np.sqrt(count))
  np.testing.assert_allclose(np.log(np.var(draw.z, 0)), LOG_VAR, atol=4 * np.sqrt(2 / count))
  expected = stats.norm.logpdf(draw.z, MEAN, np.exp(0.5 * LOG_VAR)).sum(-1)
  np.testing.assert_allclose(draw.log_q, expected, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(DiagonalGaussian().log_prob(draw.z, stats_), expected, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(gaussian_log_prob(draw.z, MEAN, LOG_VAR), expected, rtol=1e-4, atol=1e-4)


def test_a_softplus_deviation_is_that_of_the_authors_code():
  """sd = 1e-6 + log(1 + e^s) (daib13/TwoStageVAE, network/two_stage_vae_model.py)."""
  second = np.array([-30.0, 0.0, 4.0])
  mean, log_var = DiagonalGaussian(softplus=True).split(jnp.concatenate([MEAN, second])[None])
  np.testing.assert_allclose(np.exp(0.5 * log_var[0]), 1e-6 + np.log1p(np.exp(second)), rtol=1e-5)
  np.testing.assert_allclose(mean[0], MEAN, rtol=1e-6)


def test_a_draw_carries_the_gradient_of_its_mean_and_deviation():
  """dz/dmean = 1 and dz/dlog_var = (z - mean) / 2: the reparameterisation."""

  def draw(stats_):
    return DiagonalGaussian().apply({}, stats_, keys_of(1), train=True).z[0]

  at = jnp.concatenate([MEAN, LOG_VAR])[None]
  jacobian = jax.jacobian(draw)(at)[:, 0]
  np.testing.assert_allclose(jacobian[:, :3], np.eye(3), atol=1e-6)
  np.testing.assert_allclose(jacobian[:, 3:], np.diag(np.asarray(draw(at)) - MEAN) / 2, atol=1e-6)


def test_a_clipped_log_variance_in_draw_density_and_rate():
  """As Hardtanh does: the value stays at the edge, and no gradient passes."""
  posterior, standard = DiagonalGaussian(log_var_range=(-6.0, 2.0)), Normal(jnp.zeros(3), jnp.zeros(3))
  stats_ = jnp.array([[0.5, -1.0, 0.2, -9.0, 5.0, 1.0]])
  clipped = jnp.array([[0.5, -1.0, 0.2, -6.0, 2.0, 1.0]])
  plain = DiagonalGaussian().apply({}, clipped, keys_of(1), train=True)
  jax.tree.map(np.testing.assert_array_equal, posterior.apply({}, stats_, keys_of(1), train=True), plain)
  gradient = jax.grad(lambda s: jnp.sum(gaussian_kl(*posterior.split(s), standard)))(stats_)[0]
  assert np.array_equal(gradient != 0, [True, True, True, False, False, True])
  for bounds in ((1.0,), (2.0, -6.0), (0.0, 0.0)):
    with pytest.raises(ConfigError, match=r"log_var_range=.* must be \(low, high\)"):
      DiagonalGaussian(log_var_range=bounds)


def test_the_standard_normal_and_its_draws_by_row():
  prior = StandardNormal(2)(None, None)
  z = np.asarray(prior.sample(keys_of(2000)))
  assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
  np.testing.assert_array_equal(prior.sample(keys_of(7)), z[:7])
  np.testing.assert_allclose(prior.log_prob(z[:5]), stats.norm.logpdf(z[:5]).sum(-1), rtol=1e-5)


def test_a_conditional_prior_starts_as_the_standard_normal_and_follows_what_is_given():
  module, values = ConditionalNormal(2, hidden=3), jnp.array([[1.0, 0.0], [0.0, 2.0]])
  params = module.init(jax.random.key(0), None, values)["params"]
  fresh = module.apply({"params": params}, None, values)
  np.testing.assert_array_equal([fresh.mean, fresh.log_var], np.zeros((2, 2, 2)))
  # A hidden layer that copies the values; mean = (value 0, value 1), log-variance = (0, value 1).
  params["hidden"] = {"kernel": jnp.eye(2, 3), "bias": jnp.zeros(3)}
  stats_ = jnp.zeros((3, 4)).at[0, 0].set(1.0).at[1, 1].set(1.0).at[1, 3].set(1.0)
  params["stats"] = {"kernel": stats_, "bias": jnp.zeros(4)}
  prior = module.apply({"params": params}, None, values)
  z = jnp.array([[0.3, -1.0], [0.5, 4.0]])
  expected = stats.norm.logpdf(z, [[1, 0], [0, 2]], [[1, 1], [1, np.e]]).sum(-1)
  np.testing.assert_allclose(prior.log_prob(z), expected, rtol=1e-5)
  np.testing.assert_allclose(gaussian_kl(prior.mean, prior.log_var, prior), 0.0, atol=1e-6)
  draws = module.apply({"params": params}, None, jnp.broadcast_to(values[1], (4000, 2))).sample(keys_of(4000))
  assert stats.kstest(np.asarray(draws)[:, 1], stats.norm(2, np.e).cdf).pvalue > 1e-3


def test_the_penalty_of_a_conditional_prior_is_that_of_a_normal_mean_and_a_gamma_deviation():
  """-log N(mean; 0, sigma_mu^2) - log Gamma(deviation; 1 + sigma_sigma, 1 / sigma_sigma), up to a constant."""
  prior = ConditionalNormal(2, sigma_mu=3.0, sigma_sigma=0.4)
  mean, deviation = np.array([[0.5, -2.0], [4.0, 0.0]]), np.array([[0.1, 1.0], [2.0, 7.0]])
  p = Normal(jnp.asarray(mean), jnp.asarray(2.0 * np.log(deviation)))
  exact = -stats.norm.logpdf(mean, scale=3.0) - stats.gamma.logpdf(deviation, 1.4, scale=1 / 0.4)
  found, expected = prior.penalty(p), exact.sum(-1)
  np.testing.assert_allclose(found[0] - found[1], expected[0] - expected[1], rtol=1e-5)


def test_a_mixture_equals_scipy_and_its_draws_follow_it():
  weight, mean = np.array([0.2, 0.5, 0.3]), np.array([[-2.0, 0.0], [1.0, 1.0], [3.0, -1.0]])
  log_var = np.log(np.array([[0.5, 1.0], [0.1, 0.2], [1.0, 0.3]]))
  mixture = GaussianMixture(*map(jnp.asarray, (np.log(weight), mean, log_var)))
  z = np.random.default_rng(0).normal(size=(4, 5, 2))
  parts = [stats.norm.pdf(z, m, np.exp(0.5 * v)).prod(-1) for m, v in zip(mean, log_var, strict=True)]
  np.testing.assert_allclose(mixture.log_prob(jnp.asarray(z)), np.log(np.tensordot(weight, parts, 1)), rtol=1e-5)
  draws = np.asarray(jax.jit(mixture.sample)(keys_of(5000)))
  assert stats.kstest(draws[:, 0], mixture_cdf(weight, mean[:, 0], log_var[:, 0])).pvalue > 1e-3
  np.testing.assert_allclose(mixture.sample(keys_of(7)), draws[:7], rtol=1e-6)


def test_vampprior_is_the_mean_of_the_posteriors_of_its_pseudo_inputs():
  """In draws too, whose components are all of them and not the first (a published bug); inputs are clipped."""
  module = VampPrior(image_shape=(1, 1, 2), pixel_range=(0.0, 1.0), components=4)
  inputs = jnp.array([[-1.0, 0.5], [0.0, 1.0], [2.0, 0.2], [0.3, 0.9]]).reshape(4, 1, 1, 2)
  encode = lambda x: (10.0 * x[:, 0, 0, :1], -2.0 + x[:, 0, 0, 1:])  # noqa: E731
  prior = module.apply({"params": {"pseudo_inputs": inputs}}, encode, None)
  mean, log_var = np.array([0.0, 0.0, 10.0, 3.0]), np.array([-1.5, -1.0, -1.8, -1.1])
  z = np.linspace(-1, 11, 7)[:, None]
  expected = np.log(np.mean(stats.norm.pdf(z, mean, np.exp(0.5 * log_var)), axis=1))
  np.testing.assert_allclose(prior.log_prob(jnp.asarray(z)), expected, rtol=1e-4)
  draws = np.asarray(jax.jit(prior.sample)(keys_of(4000)))[:, 0]
  assert stats.kstest(draws, mixture_cdf(0.25, mean, log_var)).pvalue > 1e-3


def test_pseudo_inputs_start_as_stated():
  module = VampPrior(image_shape=(28, 28, 1), pixel_range=(0.0, 1.0), components=50)
  params = module.init(jax.random.key(0), lambda x: (x[:, 0, 0], x[:, 0, 0]), None)["params"]["pseudo_inputs"]
  assert params.shape == (50, 28, 28, 1)
  assert abs(np.mean(params) - 0.05) < 2e-4 and abs(np.std(params) - 0.01) < 2e-4


def test_uniform_codes():
  codes, places = 6, 4
  prior = UniformCodes(z_dim=12, num_codes=codes, code_dim=3)(None, None)
  log_p = np.asarray(prior.log_prob(np.zeros((3, 5, 12))), np.float64)
  np.testing.assert_allclose(codes**places * np.exp(log_p), np.ones((3, 5)), rtol=1e-5)
  sample = jax.jit(prior.sample_codes)
  found = np.asarray(sample(keys_of(4000)))
  assert (found.dtype, found.shape) == (np.int32, (4000, places))
  joint = np.bincount(found[:, 0] * codes + found[:, 3], minlength=codes**2)
  assert stats.chisquare(joint).pvalue > 1e-3
  np.testing.assert_array_equal(sample(keys_of(4000)[7:9]), found[7:9])
