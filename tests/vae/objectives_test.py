"""Objectives against their papers' formulas, and gradients of the importance-weighted bound against autodiff."""

import math

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from common.build import build
from common.errors import ConfigError
from configs import rae
from tests.vae.tiny_model import model_of
from vae.likelihoods import LIKELIHOODS
from vae.model import Terms
from vae.objectives import OBJECTIVES
from vae.objectives.mmd import KERNELS, mmd
from vae.objectives.objective import Context

DISTORTION = np.array([[3.0, 4.0], [5.0, 2.0], [1.0, 6.0]])  # 3 draws of 2 images
RATES = {"z2": np.array([[1.0, 2.0], [0.5, 1.5], [0.2, 0.1]]), "z1": np.array([[0.5, 0.5], [1.0, 0.0], [0.3, 0.4]])}
TOTAL = sum(RATES.values())


def terms_of(**changes):
  fields = {"distortion": DISTORTION, "rates": RATES, "penalties": {}, "figures": {}, "z": (), "moments": {}, **changes}
  return jax.tree.map(jnp.asarray, Terms(log_ratio=sum(fields["rates"].values()), params=0.0, **fields))


def context_of(updates=0, **changes):
  fields = {"updates": jnp.asarray(updates), "decoder_params": {}, "decode": None, "prior_sample": None}
  return Context(**{**fields, **changes})


def losses(name, terms=None, context=(), **settings):
  objective = build(OBJECTIVES, {"name": name, **settings}, "objective")
  return np.asarray(objective(terms or terms_of(), context_of(**dict(context))))


def linear(end, steps):
  return {"name": "linear", "start": 0.0, "end": end, "steps": steps}


def test_the_elbo_weighs_all_rates_by_beta_of_the_updates():
  np.testing.assert_allclose(losses("elbo"), np.mean(DISTORTION + TOTAL, axis=0), rtol=1e-6)
  for updates, beta in ((0, 0.0), (5, 0.5), (20, 1.0)):
    found = losses("elbo", context={"updates": updates}, beta=linear(1.0, 10))
    np.testing.assert_allclose(found, np.mean(DISTORTION + beta * TOTAL, axis=0), rtol=1e-6)


def test_capacity_is_a_distance_of_each_images_rate_on_both_sides():
  for updates, capacity in ((0, 0.0), (100, 4.0)):
    found = losses("capacity", context={"updates": updates}, capacity=linear(4.0, 100), gamma=10.0)
    np.testing.assert_allclose(found, DISTORTION.mean(0) + 10.0 * np.abs(TOTAL.mean(0) - capacity), rtol=1e-6)
  # The mean of these rates is at the capacity, and both pay.
  apart = terms_of(distortion=np.zeros((1, 2)), rates={"z": np.array([[1.0, 7.0]])})
  np.testing.assert_allclose(losses("capacity", apart, capacity=4.0, gamma=10.0), [30.0, 30.0], rtol=1e-6)


@pytest.mark.parametrize(
  ("name", "settings", "words"),
  [
    ("capacity", {"capacity": -1.0}, "capacity=-1.0 must be at least 0"),
    ("capacity", {"capacity": 5.0, "gamma": -1000.0}, "gamma=-1000.0 must be at least 0"),
    ("wae", {"weight": -1.0}, "weight=-1.0 must be at least 0"),
    ("importance_weighted", {"draws": 0}, "draws=0 must be 1 or more"),
    ("info_vae", {"alpha": 2.0}, "alpha=2.0 and weight=1000.0"),
    ("rae", {"z_weight": 0.1, "regularizer": "l2"}, "has no effect; set "),
    ("rae", {"z_weight": 0.1, "weight": 0.5}, "has no effect; set "),
  ],
)
def test_settings_that_mean_nothing_are_refused(name, settings, words):
  with pytest.raises(ConfigError, match=words):
    build(OBJECTIVES, {"name": name, **settings}, "objective")


def test_the_importance_weighted_bound_prefers_the_best_draw():
  """log mean exp of the weights, better than the ELBO: a published code weighs the worst draw most."""
  actual = losses("importance_weighted", draws=3)
  np.testing.assert_allclose(actual, np.log(3) - logsumexp(-(DISTORTION + TOTAL), axis=0), rtol=1e-6)
  assert np.all(actual < np.mean(DISTORTION + TOTAL, axis=0)) and np.all(actual > np.min(DISTORTION + TOTAL, axis=0))


def test_kernels_are_those_of_the_papers_code():
  """At two independent draws of N(0, I) in 16 dimensions, d^2 = 2 Z: C = 2 Z s; and the mean over Z, divided by Z."""
  np.testing.assert_allclose(KERNELS["gaussian"](jnp.float32(32.0), 16), np.exp(-32.0 / 16 / 16), rtol=1e-6)
  scales = np.array([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0])
  expected = np.sum(2 * 16 * scales / (2 * 16 * scales + 32.0))
  np.testing.assert_allclose(KERNELS["imq"](jnp.float32(32.0), 16), expected, rtol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_mmd_is_unbiased(kernel):
  """It is 0 on average between samples of one distribution, and its closed form between two Gaussians."""
  rng = np.random.default_rng(0)
  function = jax.jit(jax.vmap(lambda a, b: mmd(a, b, KERNELS[kernel])))
  grid = np.linspace(-12, 12, 4001)
  k = np.asarray(KERNELS[kernel](jnp.asarray(grid) ** 2, 1))
  expectation = lambda shift: np.sum(k * norm.pdf(grid, shift, np.sqrt(2))) * (grid[1] - grid[0])  # noqa: E731
  for shift in (0.0, 1.5):
    samples = rng.normal(size=(2, 4000, 5, 1)) + np.array([0.0, shift]).reshape(2, 1, 1, 1)
    values, exact = np.asarray(function(*jnp.asarray(samples))), 2 * expectation(0.0) - 2 * expectation(shift)
    assert abs(values.mean() - exact) < 4 * values.std() / np.sqrt(len(values)) and exact >= shift / 15


def test_wae_and_info_vae_weigh_the_aggregate():
  z, prior = np.random.default_rng(1).normal(size=(2, 2, 3))
  terms = terms_of(distortion=DISTORTION[:1], rates={"z": TOTAL[:1]}, z=(z[None],))
  draw = {"prior_sample": lambda: (jnp.asarray(prior),)}
  divergence = mmd(jnp.asarray(z), jnp.asarray(prior), KERNELS["imq"])
  np.testing.assert_allclose(losses("wae", terms, draw, weight=7.0), DISTORTION[0] + 7 * divergence, rtol=1e-5)
  found = losses("info_vae", terms, draw, alpha=0.25, weight=3.0, kernel="imq")
  np.testing.assert_allclose(found, DISTORTION[0] + 0.75 * TOTAL[0] + 2.25 * divergence, rtol=1e-5)


def test_autoencoders():
  z = np.random.default_rng(1).normal(size=(1, 2, 3))
  terms = terms_of(distortion=DISTORTION[:1], rates={}, z=(z,))
  np.testing.assert_allclose(losses("reconstruction", terms), DISTORTION[0], rtol=1e-6)
  base = DISTORTION[0] + 0.05 * np.sum(z[0] ** 2, axis=-1)
  np.testing.assert_allclose(losses("rae", terms, z_weight=0.1), base, rtol=1e-6)
  with pytest.raises(ConfigError, match="kernels of the decoder's convolutions, and this decoder has none"):
    losses("rae", terms, z_weight=0.1, regularizer="l2", weight=1.0)


@pytest.mark.parametrize(
  ("variant", "of_z", "l2", "slope"),
  [
    ("fashion_mnist", 5e-4, 0.0, 0.0),
    ("fashion_mnist,l2", 1e-4, 1e-7, 0.0),
    ("fashion_mnist,gradient", 1e-4, 0.0, 0.5e-7),
    ("cifar10", 1e-2, 0.0, 0.0),
    ("cifar10,l2", 1e-3, 1e-6, 0.0),
  ],
)
def test_regularized_autoencoders_have_the_objective_of_the_authors_code(variant, of_z, l2, slope):
  """Theirs is a mean over pixels and penalties of such weights; ours is that times the number of pixels.

  The penalties: the mean of z^2 over z, the squares of the transposed convolutions' kernels, and the mean over z of the
  squared slope of the sum of the squared pixels.
  """
  config = rae.get_config(variant)
  shape, z_dim = (config.data.image_size, config.data.image_size, config.data.channels), config.model.z_dim
  pixels, rng = math.prod(shape), np.random.default_rng(0)
  z, matrix, kernel = rng.normal(size=(2, z_dim)), rng.normal(size=(z_dim, pixels)), rng.normal(size=(4, 4, 2, 1))
  slopes = 2.0 * (z @ matrix) @ matrix.T
  theirs = of_z * np.mean(z**2, axis=1) + l2 * np.sum(kernel**2) + slope * np.mean(slopes**2, axis=1)
  context = {
    "decoder_params": {"up": {"kernel": jnp.asarray(kernel)}, "dense": {"kernel": jnp.ones((3, 3))}},
    "decode": lambda z: (z[0] @ jnp.asarray(matrix)).reshape(2, *shape),
  }
  terms = terms_of(distortion=np.zeros((1, 2)), rates={}, z=(z[None],))
  ours = losses(**config.objective.to_dict(), terms=terms, context=context)
  np.testing.assert_allclose(ours, pixels * theirs, rtol=1e-4)
  # Their VAE has a rate beside the error summed over pixels and averaged over channels.
  their_weight = {1: 0.312, 3: 0.024}[shape[-1]]
  assert rae.get_config(f"{variant.partition(',')[0]},vae").objective.beta == pytest.approx(their_weight * shape[-1])
  likelihood = build(LIKELIHOODS, config.likelihood, "likelihood", pixel_range=(0.0, 1.0), squash=False)
  x = jnp.asarray(rng.uniform(size=(2, 2, *shape)))
  error = -likelihood.log_prob(*x) + likelihood.log_prob(x[0], x[0])
  np.testing.assert_allclose(error, pixels * np.mean((x[0] - x[1]) ** 2, axis=(1, 2, 3)), rtol=1e-4)


def gradients_of(gradient, seeds=1000):
  """The step's gradient with 4 draws under each of these keys, [seeds, parameters]."""
  algorithm, state, batch = model_of(objective={"name": "importance_weighted", "draws": 4, "gradient": gradient})

  def one(seed):
    def loss(params):
      terms, _ = algorithm._terms({"params": params}, batch, jax.random.key(seed), train=True)
      return jnp.mean(algorithm.objective(terms, None))

    return jax.flatten_util.ravel_pytree(jax.grad(loss)(state.net.params))[0]

  return np.asarray(jax.jit(lambda s: jax.lax.map(one, s, batch_size=100))(jnp.arange(seeds)), np.float64)


def test_the_doubly_reparameterized_gradient_agrees_in_expectation_with_that_of_the_bound():
  difference = gradients_of("doubly") - gradients_of("standard")
  error = difference.std(0) / np.sqrt(len(difference))
  assert np.abs(difference.mean(0)[error < 1e-7]).max() < 1e-6  # the decoder's gradient is the same
  scores = difference.mean(0)[error >= 1e-7] / error[error >= 1e-7]
  assert len(scores) > 100 and np.abs(scores).max() < 4.5 and scores.std() < 1.5
