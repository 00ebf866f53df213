"""Posteriors made of flows: their densities against jacobians, what their draws depend on, and their gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from tests.vae.tiny_model import drawn, keys_of
from vae.posteriors import DiagonalGaussian, InverseAutoregressive, Planar

Z_DIM = 3
FLOWS = {"iaf": InverseAutoregressive(steps=2, width=16, context=4), "planar": Planar(steps=3)}


@pytest.fixture(scope="module", params=list(FLOWS))
def case(request):
  """A posterior, its parameters, statistics of 8 images; and compiled: its draw, and the gradients of a loss of it."""
  posterior = FLOWS[request.param]
  stats = np.random.default_rng(2).normal(size=(8, posterior.num_stats(Z_DIM))).astype(np.float32)
  variables = drawn(functools.partial(posterior.init, train=True), stats, keys_of(8))
  draw = jax.jit(functools.partial(posterior.apply, train=True))

  def loss(variables, stats, keys):
    draw = posterior.apply(variables, stats, keys, train=True)
    return jnp.sum(draw.log_q) + jnp.sum(draw.z**2)

  return posterior, variables, stats, draw, jax.jit(jax.grad(loss, (0, 1)))


def test_the_density_is_the_gaussians_over_the_jacobian(case):
  """A change of the mean is one of the Gaussian's draw, so that dz / dmean is the flow's jacobian."""
  posterior, variables, stats, draw, _ = case

  def flow(mean, rest, key):
    return posterior.apply(variables, jnp.concatenate([mean, rest])[None], key[None], train=True).z[0]

  jacobians = jax.jit(jax.vmap(jax.jacobian(flow)))(stats[:, :Z_DIM], stats[:, Z_DIM:], keys_of(8))
  assert np.all(np.asarray(jacobians) != 0)  # the second step has the reverse order
  log_dets = np.linalg.slogdet(jacobians)[1]
  assert np.mean(np.abs(log_dets)) > 0.1
  base = DiagonalGaussian().apply({}, stats[:, : 2 * Z_DIM], keys_of(8), train=True)
  np.testing.assert_allclose(draw(variables, stats, keys_of(8)).log_q, base.log_q - log_dets, rtol=1e-4, atol=1e-4)


def test_gradients_reach_all_parameters_and_statistics_and_stay_finite(case):
  _, variables, stats, draw, gradients = case
  of_parameters, of_stats = gradients(variables, stats, keys_of(8))
  assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(of_parameters))
  assert np.all(np.any(np.asarray(of_stats) != 0, axis=0))
  extreme = stats * np.where(np.arange(stats.shape[1]) < 2 * Z_DIM, 1.0, 1e3).astype(np.float32)
  found = of_parameters, of_stats, draw(variables, extreme, keys_of(8)), gradients(variables, extreme, keys_of(8))
  assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found))


def test_a_draw_depends_on_its_row_only(case):
  _, variables, stats, draw, _ = case
  order = np.array([7, 2, 0, 4, 1, 3, 6, 5])
  other, found = draw(variables, stats[order], keys_of(8)[order]), draw(variables, stats, keys_of(8))
  np.testing.assert_allclose(other.z, found.z[order], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(other.log_q, found.log_q[order], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["steps", "layers", "width", "context"])
def test_settings_that_cannot_be_are_errors(name):
  for posterior in (InverseAutoregressive, *([Planar] if name == "steps" else [])):
    with pytest.raises(ConfigError, match=f"{name}=0 must be 1 or more"):
      posterior(**{name: 0})
