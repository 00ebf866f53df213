"""The VAE as a latent-variable model: what likelihood metrics will lean on."""

import dataclasses
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from common import random
from common.algorithm import Generative, LatentVariable
from common.data.spec import Spec
from common.errors import ConfigError
from common.parallel import make_mesh
from common.training.program import Program
from configs import vae as config_file
from experiments import build_algorithm
from tests.tiny import config_of, dataset_of, filled
from tests.vae.tiny_model import model_of
from vae.from_config import from_config

SPEC = Spec((4, 4, 1), 0, 8, "images", (0.0, 1.0), "")


def _model(**changes):
  config = config_file.get_config("tiny").unlock()
  config.model.update({"z_dim": 3, "width": 16, "kernel_init": "lecun_normal"})
  config.update(changes)
  algorithm = from_config(config, SPEC)
  x = jnp.asarray(np.random.default_rng(0).integers(0, 2, (8, 4, 4, 1)), jnp.float32)
  batch = {"image": x, "index": jnp.arange(8), "label": jnp.zeros(8, jnp.int32), "mask": jnp.ones(8)}
  return algorithm, jax.jit(algorithm.init)(jax.random.key(0), batch), batch


def log_joint(algorithm, state, batch, z):
  return jax.jit(lambda z: algorithm.log_likelihood(state, batch, z) + algorithm.log_prior(state, z))(z)


def test_contracts():
  algorithm, _, _ = _model()
  assert isinstance(algorithm, Generative) and isinstance(algorithm, LatentVariable)


def test_log_weights_average_to_the_elbo_and_bound_the_likelihood():
  algorithm, state, batch = _model()
  k = 2000
  draw = jax.jit(lambda: algorithm.posterior_sample(state, batch, jax.random.key(1), k))
  z, log_q = draw()
  log_weights = np.asarray(log_joint(algorithm, state, batch, z) - log_q, np.float64)
  assert z[0].shape == (k, 8, 3) and log_weights.shape == (k, 8)

  variables = state.net.variables()

  def bound(i):
    rows = random.row_keys(jax.random.fold_in(jax.random.key(2), i), batch["index"])
    return algorithm.network.apply(variables, batch["image"], None, rows, train=False)

  terms = jax.jit(jax.vmap(bound))(jnp.arange(k))
  elbo = -np.asarray(terms.distortion + terms.rate, np.float64)  # with the closed-form rate
  error = np.sqrt(log_weights.var(0) / k + elbo.var(0) / k)
  np.testing.assert_array_less(np.abs(log_weights.mean(0) - elbo.mean(0)), 4 * error)
  # Burda et al. 2016, Theorem 1: log mean exp of k weights is at least the ELBO, and rises with k.
  bounds = [np.mean(np.log(np.mean(np.exp(log_weights.reshape(-1, m, 8)), axis=1))) for m in (1, 10, 1000)]
  assert bounds[0] < bounds[1] < bounds[2]


@pytest.mark.parametrize("name", ["vampprior", "flow"])
def test_draws_of_p_have_the_density_of_p(name):
  """E_p[r(z) / p(z)] = 1 for any density r: a Gaussian within the cloud of the draws, of two layers where there can be.

  Of one layer the flow, which is drawn from and read in opposite directions.
  """
  prior = {"vampprior": {"components": 2}, "flow": {"layers": 4, "width": 4}}[name]
  deep = {"name": "hvae", "z_dim": 2, "lower_z_dim": 1, "width": 4}
  model = {"name": "mlp", "z_dim": 2, "width": 4} if name == "flow" else deep
  algorithm, state, _ = model_of(model=model, prior={"name": name, **prior})
  state = jax.tree.map(jnp.asarray, filled(jax.eval_shape(lambda: state)))
  z = jax.jit(lambda: algorithm.prior_sample(state, jax.random.key(3), jnp.arange(20_000)))()
  log_p = jax.jit(lambda: algorithm.log_prior(state, tuple(part[None] for part in z)))()[0]
  flat = np.concatenate(z, axis=1).astype(np.float64)
  within = stats.multivariate_normal(flat.mean(0), 0.25 * np.cov(flat.T))
  ratios = np.exp(within.logpdf(flat) - log_p)
  error = ratios.std() / len(ratios) ** 0.5
  assert error < 0.05 and abs(ratios.mean() - 1.0) < 4 * error


def test_an_output_starts_at_the_mean_training_image():
  """As in the code of Burda et al. 2016: the logit of its grey values, clipped to [0.001, 0.999], averages too."""
  config, dataset = config_of("iwae:digits,tiny", ema__decay=0.9), dataset_of("iwae:digits,tiny")
  net = Program(build_algorithm(config, dataset.spec), dataset, config, make_mesh(1)).init().net
  mean = np.clip(dataset.train.arrays()["image"].astype(np.float64).mean(axis=0) / 255, 0.001, 0.999)
  for params in (net.params, net.ema_params):
    np.testing.assert_allclose(params["decoder"]["out"]["bias"], np.log(mean / (1 - mean)).ravel(), atol=1e-5)
    assert not np.any(params["encoder"]["out"]["bias"])
  assert mean.min() == 0.001 and mean.max() > 0.5
  with pytest.raises(ConfigError, match="takes 2 numbers; set --config.model.starts_at_mean=False"):
    model_of(model=dict(config.model), likelihood={"name": "gaussian"})


def test_many_draws_encode_each_image_once():
  algorithm, state, batch = _model()

  draw = jax.jit(lambda batch: algorithm.posterior_sample(state, batch, jax.random.key(1), 50))
  products = re.findall(r"stablehlo.dot_general.*-> tensor<([0-9x]+)xf32>", draw.lower(batch).as_text())
  assert products == ["8x16", "8x6"]  # hidden layer and statistics of 8 images, not of 50 draws of each


def test_the_joint_density_by_exact_enumeration():
  # sum over x of p(x, z) = p(z): the decoder's Bernoullis over all 2^4 images of 2x2.
  spec = Spec((2, 2, 1), 0, 8, "images", (0.0, 1.0), "")
  config = config_file.get_config("tiny").unlock()
  config.model.update({"z_dim": 2, "width": 8, "kernel_init": "lecun_normal"})
  algorithm = from_config(config, spec)
  x = jnp.asarray([[int(b) for b in f"{i:04b}"] for i in range(16)], jnp.float32).reshape(16, 2, 2, 1)
  batch = {"image": x, "index": jnp.arange(16)}
  state = jax.jit(algorithm.init)(jax.random.key(0), batch)
  z = jnp.broadcast_to(jnp.asarray([0.3, -1.2]), (1, 16, 2))
  log_p = np.asarray(log_joint(algorithm, state, batch, (z,)))[0]
  log_prior = -0.5 * (0.3**2 + 1.2**2) - np.log(2 * np.pi)
  np.testing.assert_allclose(np.log(np.sum(np.exp(log_p))), log_prior, rtol=1e-5)


def test_reconstructions_stand_beside_their_images():
  algorithm, state, batch = _model()
  pairs = jax.jit(algorithm.visualize)(state, batch, jax.random.key(0))["reconstructions"]
  np.testing.assert_array_equal(pairs[0::2], batch["image"])
  assert pairs.shape[0] == 16 and not np.allclose(pairs[1::2], batch["image"])


def test_terms_of_the_bound_for_each_draw():
  """Rates in closed form, the same for each draw; distortions of the draws that posterior_sample gives."""
  algorithm, state, batch = _model()
  rng = jax.random.key(1)
  distortion, rates = jax.jit(lambda: algorithm.bound_terms(state, batch, rng, 5))()
  assert set(rates) == {"z"} and distortion.shape == rates["z"].shape == (5, 8)
  z, _ = jax.jit(lambda: algorithm.posterior_sample(state, batch, rng, 5))()
  np.testing.assert_allclose(distortion, -jax.jit(algorithm.log_likelihood)(state, batch, z), rtol=1e-5)
  mean, log_var = jax.jit(algorithm.posterior_moments)(state, batch)
  rate = 0.5 * jnp.sum(mean**2 + jnp.exp(log_var) - 1 - log_var, axis=-1)
  np.testing.assert_allclose(rates["z"], jnp.broadcast_to(rate, (5, 8)), rtol=1e-5)


def test_moments_are_those_of_the_draws():
  algorithm, state, batch = _model()
  k = 4000
  mean, log_var = jax.jit(algorithm.posterior_moments)(state, batch)
  (z,), log_q = jax.jit(lambda: algorithm.posterior_sample(state, batch, jax.random.key(1), k))()
  np.testing.assert_allclose(jnp.mean(z, 0), mean, atol=5 * np.exp(0.5 * log_var).max() / np.sqrt(k))
  np.testing.assert_allclose(jnp.log(jnp.var(z, 0)), log_var, atol=5 * np.sqrt(2 / k))
  expected = stats.norm.logpdf(z, mean, np.exp(0.5 * log_var)).sum(-1)
  np.testing.assert_allclose(log_q, expected, rtol=1e-4, atol=1e-4)


def test_a_posterior_without_moments_is_refused():
  algorithm, state, batch = _model()

  class Other(nn.Module):
    gives = frozenset({"density"})

  other = dataclasses.replace(algorithm, network=algorithm.network.clone(posterior=Other()))
  with pytest.raises(ConfigError, match="the posterior Other of z has no mean and variance in closed form"):
    other.posterior_moments(state, batch)


def test_the_prior_of_a_lower_layer_is_clipped_as_its_posterior():
  """As in the public code of Exemplar VAE, whose log-variances all lie in [-6, 2]."""
  model = {"name": "hvae", "z_dim": 2, "lower_z_dim": 3, "width": 4}
  algorithm, make, _ = model_of(
    compiled=False, model=model, posterior={"name": "diagonal_gaussian", "log_var_range": (-6.0, 2.0)}
  )
  variables = jax.tree.map(lambda p: 100.0 * p, filled(jax.eval_shape(make)).net.variables())
  prior = algorithm.network.apply(variables, (jnp.ones((4, 2)),), method="_prior")
  assert prior.log_var.shape == (4, 3) and set(np.unique(prior.log_var)) <= {-6.0, 2.0}
