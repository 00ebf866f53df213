"""Posteriors made of flows: their densities against jacobians and against what the draws do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import random
from common.errors import ConfigError
from tests.vae.flows.parameters import drawn
from vae.flow_posteriors import InverseAutoregressive, Planar
from vae.gaussian import gaussian_log_prob
from vae.posteriors import DiagonalGaussian

Z_DIM = 3
FLOWS = {
  "iaf": InverseAutoregressive(steps=2, width=16, context=4),
  "iaf_without_context": InverseAutoregressive(steps=1, width=16, layers=2, context=0),
  "planar": Planar(steps=3),
}


def rows_of(count):
  return random.row_keys(jax.random.key(0), jnp.arange(count))


def stats_of(posterior, z_dim, count, spread=1.0):
  return spread * np.random.default_rng(2).normal(size=(count, posterior.num_stats(z_dim))).astype(np.float32)


def start(posterior, z_dim=Z_DIM, scale=1.0):
  init = functools.partial(posterior.init, train=True)
  return drawn(init, stats_of(posterior, z_dim, 1), rows_of(1), scale=scale)


@pytest.fixture(scope="module", params=list(FLOWS))
def case(request):
  """A posterior, its parameters, and compiled: its draw, and the gradients of a loss of it."""
  posterior = FLOWS[request.param]

  def loss(variables, stats, rows):
    draw = posterior.apply(variables, stats, rows, train=True)
    return jnp.sum(draw.log_q) + jnp.sum(draw.z**2)

  draw = jax.jit(functools.partial(posterior.apply, train=True))
  return posterior, start(posterior), draw, jax.jit(jax.grad(loss, (0, 1)))


def test_the_density_is_the_gaussians_over_the_jacobian(case):
  """A change of the mean is one of the Gaussian's draw, so that dz / dmean is the flow's jacobian."""
  posterior, variables, draw, _ = case
  stats, rows = stats_of(posterior, Z_DIM, 8), rows_of(8)

  def flow(mean, rest, row):
    return posterior.apply(variables, jnp.concatenate([mean, rest])[None], row[None], train=True).z[0]

  jacobians = jax.jit(jax.vmap(jax.jacobian(flow)))(stats[:, :Z_DIM], stats[:, Z_DIM:], rows)
  log_dets = np.linalg.slogdet(jacobians)[1]
  assert np.mean(np.abs(log_dets)) > 0.1
  base = DiagonalGaussian().apply({}, stats[:, : 2 * Z_DIM], rows, train=True)
  found = draw(variables, stats, rows)
  np.testing.assert_allclose(found.log_q, base.log_q - log_dets, rtol=1e-4, atol=1e-4)
  assert (found.penalties, found.figures) == ({}, {})


def test_the_density_is_that_of_the_draws(case):
  """E_q[p / q] is 1 for a p in the midst of q, and not for q without its flow."""
  posterior, *_ = case
  count = 20_000
  stats = stats_of(posterior, 2, 1, spread=0.7)
  variables = start(posterior, z_dim=2, scale=0.5)
  draw = jax.jit(lambda: posterior.apply(variables, jnp.tile(stats, (count, 1)), rows_of(count), train=True))()
  log_p = gaussian_log_prob(draw.z, draw.z.mean(0), 2 * jnp.log(0.5 * draw.z.std(0)))
  base = gaussian_log_prob(draw.z, stats[:, :2], stats[:, 2:4])
  ratio, wrong = (np.exp(np.float64(log_p - log_q)) for log_q in (draw.log_q, base))
  error = ratio.std() / np.sqrt(count)
  assert error < 0.02
  assert abs(ratio.mean() - 1) < 4 * error
  assert abs(wrong.mean() - 1) > 8 * error


def test_gradients_reach_all_parameters_and_statistics_and_are_finite(case):
  posterior, variables, _, gradients = case
  of_parameters, of_stats = gradients(variables, stats_of(posterior, Z_DIM, 8), rows_of(8))
  assert all(np.all(np.isfinite(leaf)) and np.any(leaf != 0) for leaf in jax.tree.leaves(of_parameters))
  assert np.all(np.isfinite(of_stats))
  assert np.all(np.any(np.asarray(of_stats) != 0, axis=0))


def test_extreme_parameters_of_the_flow_stay_finite(case):
  posterior, variables, draw, gradients = case
  stats, rows = stats_of(posterior, Z_DIM, 8), rows_of(8)
  stats[:, 2 * Z_DIM :] *= 1e3
  found = draw(variables, stats, rows), gradients(variables, stats, rows)
  assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found))


def test_a_draw_depends_on_its_row_only(case):
  posterior, variables, draw, _ = case
  stats, rows, order = stats_of(posterior, Z_DIM, 8), rows_of(8), np.array([7, 2, 0, 4, 1, 3, 6, 5])
  other, found = draw(variables, stats[order], rows[order]), draw(variables, stats, rows)
  np.testing.assert_allclose(other.z, found.z[order], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(other.log_q, found.log_q[order], rtol=1e-5, atol=1e-5)


def test_the_context_changes_the_flow():
  posterior = FLOWS["iaf"]
  variables, stats = start(posterior), stats_of(posterior, Z_DIM, 8)
  draw = jax.jit(functools.partial(posterior.apply, train=True))
  other = stats.copy()
  other[:, 2 * Z_DIM :] += 1.0
  a, b = (draw(variables, s, rows_of(8)) for s in (stats, other))
  assert np.all(np.asarray(a.z != b.z))
  assert np.all(np.asarray(a.log_q != b.log_q))


def test_the_next_step_reverses_the_order():
  """After two steps all coordinates see each other."""
  posterior = FLOWS["iaf"]
  variables, stats = start(posterior), stats_of(posterior, Z_DIM, 1)

  def draw(mean):
    return posterior.apply(variables, jnp.asarray(stats).at[0, :Z_DIM].set(mean), rows_of(1), train=True).z[0]

  assert np.all(np.asarray(jax.jit(jax.jacobian(draw))(stats[0, :Z_DIM])) != 0)


def test_planar_steps_of_zeros_are_the_identity():
  stats = stats_of(Planar(steps=2), 2, 3)
  stats[:, 4:] = 0.0
  draw = jax.jit(functools.partial(Planar(steps=2).apply, train=True))({}, stats, rows_of(3))
  base = DiagonalGaussian().apply({}, stats[:, :4], rows_of(3), train=True)
  np.testing.assert_allclose(draw.z, base.z, rtol=1e-6)
  np.testing.assert_allclose(draw.log_q, base.log_q, rtol=1e-5)


@pytest.mark.parametrize("kind", [functools.partial(InverseAutoregressive, context=2), Planar])
def test_the_log_variance_is_clipped_as_the_gaussians(kind):
  posterior = kind(steps=2, log_var_range=(-6.0, 2.0))
  wild, edge = stats_of(posterior, 2, 3), stats_of(posterior, 2, 3)
  wild[:, 2:4], edge[:, 2:4] = [-9.0, 5.0], [-6.0, 2.0]
  draw = jax.jit(functools.partial(posterior.apply, train=True))
  variables = start(posterior, z_dim=2)
  jax.tree.map(np.testing.assert_array_equal, *(draw(variables, s, rows_of(3)) for s in (wild, edge)))


def test_numbers_that_the_encoder_gives():
  assert InverseAutoregressive(context=7).num_stats(5) == 17
  assert Planar(steps=3).num_stats(5) == 10 + 3 * 11


@pytest.mark.parametrize(
  ("posterior", "settings", "words"),
  [
    (InverseAutoregressive, {"steps": 0}, "steps=0 must be 1 or more"),
    (InverseAutoregressive, {"layers": 0}, "layers=0 must be 1 or more"),
    (InverseAutoregressive, {"width": 0}, "width=0 must be 1 or more"),
    (InverseAutoregressive, {"log_var_range": (2.0, 1.0)}, r"log_var_range=.* must be \(low, high\)"),
    (Planar, {"steps": 0}, "steps=0 must be 1 or more"),
    (Planar, {"log_var_range": (1.0,)}, r"log_var_range=.* must be \(low, high\)"),
  ],
)
def test_settings_that_cannot_be_are_errors(posterior, settings, words):
  with pytest.raises(ConfigError, match=words):
    posterior(**settings)
