"""log p(x) by importance sampling, on a linear Gaussian model where it is known, and on a VAE."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from common import random
from common.data.batches import EvalFeed
from common.evaluate import Evaluator
from common.metrics.importance import ImportanceSampler, log_likelihood
from common.parallel import make_mesh
from experiments import build_algorithm
from tests.tiny import FAST, config_of, dataset_of, fresh_state

RNG = np.random.default_rng(0)
WEIGHTS, NOISE = RNG.normal(size=(4, 2)), 0.7  # x = WEIGHTS z + NOISE e, z and e standard normal
IMAGES = RNG.normal(scale=1.5, size=(7, 2, 2, 1)).astype(np.float32)
PIXELS = IMAGES.reshape(7, 4)
EXACT = stats.multivariate_normal(np.zeros(4), WEIGHTS @ WEIGHTS.T + NOISE**2 * np.eye(4)).logpdf(PIXELS)
POSTERIOR = np.linalg.inv(np.eye(2) + WEIGHTS.T @ WEIGHTS / NOISE**2)  # its covariance; its mean is linear in x
TO_MEAN = POSTERIOR @ WEIGHTS.T / NOISE**2


def normal_log_prob(x, mean, covariance):
  log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
  whitened = (x - mean) @ np.linalg.inv(np.linalg.cholesky(covariance)).T.astype(np.float32)
  return -0.5 * (jnp.sum(whitened**2, -1) + log_det)


class LinearGaussian:
  """Probabilistic PCA; ``wrong`` moves and widens q away from the posterior."""

  def __init__(self, wrong):
    self.shift, self.covariance = 0.3 * wrong, POSTERIOR * (1 + 0.5 * wrong)

  def posterior_sample(self, state, x, rng, index, k):
    mean = x.reshape(len(x), 4) @ jnp.asarray(TO_MEAN, jnp.float32).T + self.shift

    def draw(i):
      noise = random.normal(random.row_keys(jax.random.fold_in(rng, i), index), (2,))
      z = mean + noise @ np.linalg.cholesky(self.covariance).T.astype(np.float32)
      return (z,), normal_log_prob(z, mean, self.covariance)

    return jax.vmap(draw)(jnp.arange(k))

  def log_joint(self, state, x, z):
    mean = z[0] @ jnp.asarray(WEIGHTS, jnp.float32).T
    likelihood = normal_log_prob(x.reshape(len(x), 4), mean, NOISE**2 * np.eye(4))
    return likelihood + normal_log_prob(z[0], 0.0, np.eye(2))


def run(wrong, x, index, k, chunk=500):
  compiled = jax.jit(
    lambda x, index: log_likelihood(LinearGaussian(wrong), None, x, index, jax.random.key(3), k=k, chunk=chunk),
    compiler_options=FAST,
  )
  return np.asarray(compiled(jnp.asarray(x), jnp.asarray(index)), np.float64)


def repeated(count):
  """The first image under many indices: independent estimates of one number."""
  return np.repeat(IMAGES[:1], count, axis=0), np.arange(count)


@pytest.mark.parametrize("k", [1, 13])
def test_with_the_true_posterior_every_draw_gives_log_p_exactly(k):
  np.testing.assert_allclose(run(0.0, IMAGES, np.arange(7), k, chunk=5), EXACT, rtol=1e-4, atol=1e-4)


def test_one_draw_gives_the_elbo_on_average():
  """ELBO = log p(x) - KL(q || posterior), both Gaussian."""
  values = run(1.0, *repeated(5000), k=1)
  mean_gap = np.full(2, 0.3)
  trace, log_det = 2 * 1.5, 2 * np.log(1.5)
  kl = 0.5 * (trace - 2 - log_det + mean_gap @ np.linalg.inv(POSTERIOR) @ mean_gap)
  assert kl > 0.2
  assert abs(values.mean() - (EXACT[0] - kl)) < 4 * values.std() / np.sqrt(len(values))


@pytest.mark.parametrize("k", [1, 10, 1000])
def test_the_weights_are_unbiased_and_many_reach_log_p(k):
  values = run(1.0, *repeated(500), k=k)
  ratio = np.exp(values - EXACT[0])
  error = ratio.std() / np.sqrt(len(ratio))
  assert abs(ratio.mean() - 1) < 4 * error
  if k == 1000:
    assert error < 5e-3 and abs(values.mean() - EXACT[0]) < 0.01


def test_more_draws_give_a_higher_bound():
  bounds = [run(1.0, *repeated(1000), k=k).mean() for k in (1, 5, 50)]
  assert bounds[0] + 0.1 < bounds[1] < bounds[2] + 1e-3 < EXACT[0] + 0.02


@functools.cache
def log_weights(count):
  """[count, 7], at once."""
  model = LinearGaussian(1.0)
  z, log_q = model.posterior_sample(None, jnp.asarray(IMAGES), jax.random.key(3), jnp.arange(7), count)
  return np.asarray(model.log_joint(None, jnp.asarray(IMAGES), z) - log_q, np.float64)


@pytest.mark.parametrize(("chunk", "part"), [(8, slice(4, 6)), (37, slice(7)), (100, slice(7)), (10_000, slice(7))])
def test_neither_chunks_nor_batches_change_the_draws(chunk, part):
  """k = 37: in 5 passes (the last of them partly filled) and in 1, then 2 and 7 images a pass."""
  expected = logsumexp(log_weights(40)[:37], axis=0) - np.log(37)
  np.testing.assert_allclose(run(1.0, IMAGES[part], np.arange(7)[part], 37, chunk), expected[part], rtol=1e-5)


def test_log_weights_far_below_the_range_of_floats():
  """e^-1000 is 0 in float32; the bound is of sums of logarithms."""

  class Far(LinearGaussian):
    def log_joint(self, state, x, z):
      return super().log_joint(state, x, z) - 1000.0

  actual = jax.jit(lambda x: log_likelihood(Far(0.0), None, x, jnp.arange(7), jax.random.key(0), k=20, chunk=6))(IMAGES)
  np.testing.assert_allclose(actual, EXACT - 1000.0, rtol=1e-5)


VARIANT = "vae:digits,gated,tiny"


@functools.cache
def vae():
  config, dataset = config_of(VARIANT), dataset_of(VARIANT)
  algorithm = build_algorithm(config, dataset.spec)
  return config, dataset, algorithm, jax.device_get(fresh_state(algorithm, VARIANT))


def on(devices, batch_size, k):
  config, dataset, algorithm, state = vae()
  mesh = make_mesh(devices)
  sampler = ImportanceSampler(algorithm, dataset.spec, config, mesh, k=k, chunk=5)
  feed = EvalFeed(dataset.validation, mesh, batch_size=batch_size, resident_mb=100)
  return list(sampler.batches(state, feed))


def test_a_split_on_one_and_on_eight_devices_in_its_order():
  config, dataset, algorithm, state = vae()
  x = jnp.asarray(dataset.validation.arrays()["image"], jnp.float32) / 255
  rng = random.stream(random.stream(jax.random.key(config.seed), "evaluate"), "importance")
  direct = jax.jit(lambda x: log_likelihood(algorithm, state, x, jnp.arange(97), rng, k=7), compiler_options=FAST)(x)
  batches = on(1, 40, 7)
  assert [len(batch) for batch in batches] == [40, 40, 17]
  np.testing.assert_allclose(np.concatenate(batches), direct, rtol=1e-5)
  np.testing.assert_allclose(np.concatenate(on(8, 48, 7)), direct, rtol=1e-5)


def test_one_draw_of_a_vae_agrees_with_its_evaluation():
  """Other draws, and a closed-form rate: equal within their errors."""
  config, dataset, algorithm, state = vae()
  evaluator = Evaluator(algorithm, dataset.spec, config, make_mesh(1))
  elbo = evaluator(state, evaluator.feed(dataset.validation))["elbo"]
  (one,), (many,) = on(1, 97, 1), on(1, 97, 100)
  assert abs(one.mean() - elbo) < 4 * np.std(one - many) * np.sqrt(2 / 97)
  assert many.mean() > elbo


def test_a_number_of_draws_below_one_is_an_error():
  config, dataset, algorithm, _ = vae()
  with pytest.raises(ValueError, match="k=0 and chunk=5 must be 1 or more"):
    ImportanceSampler(algorithm, dataset.spec, config, make_mesh(1), k=0, chunk=5)
