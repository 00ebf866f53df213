"""The coupling flow as a density: its start, inverse, jacobian, integral and draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from common import random
from common.errors import ConfigError
from tests.vae.tiny_model import drawn, keys_of
from vae.coupling import CouplingFlow


def started(z_dim, scale, **settings):
  """A flow, and parameters for it."""
  flow = CouplingFlow(z_dim, **{"layers": 4, "width": 16, "depth": 1, **settings})
  return flow, drawn(lambda key, z: flow.init(key, z, method="log_prob"), jnp.zeros((1, z_dim)), scale=scale)


def log_prob(flow, variables, z):
  return jax.jit(lambda v, z: flow.apply(v, z, method="log_prob"))(variables, z)


def test_it_starts_as_the_standard_normal():
  flow = CouplingFlow(3, layers=2, width=8, depth=1)
  z = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
  variables = jax.jit(lambda key: flow.init(key, z, method="log_prob"))(jax.random.key(0))
  np.testing.assert_allclose(log_prob(flow, variables, z), stats.norm.logpdf(z).sum(-1), rtol=1e-5)
  np.testing.assert_array_equal(flow.apply(variables, keys_of(5), method="sample"), random.normal(keys_of(5), (3,)))


def test_inverse_and_log_determinant():
  z_dim = 5
  flow, variables = started(z_dim, 0.5)
  z = 2.0 * np.random.default_rng(1).normal(size=(4, 3, z_dim)).astype(np.float32)

  def one(z):
    x, log_det = flow.apply(variables, z, method="forward")
    return x, (x, log_det, flow.apply(variables, x, method="inverse"))

  jacobian, (x, log_det, again) = jax.jit(jax.vmap(jax.jacobian(one, has_aux=True)))(z.reshape(-1, z_dim))
  expected = np.linalg.slogdet(jacobian)[1]
  assert np.std(expected) > 0.1
  np.testing.assert_allclose(log_det, expected, atol=1e-4)
  np.testing.assert_allclose(again, z.reshape(-1, z_dim), rtol=1e-4, atol=1e-4)
  whole = (stats.norm.logpdf(x).sum(-1) + expected).reshape(4, 3)
  np.testing.assert_allclose(log_prob(flow, variables, z), whole, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("layers", "seen"), [(2, 1), (4, 4)])
def test_every_coordinate_moves_by_others(layers, seen):
  """Two couplings move all; four let all see all."""
  flow, variables = started(5, 1.0, layers=layers)
  jacobian = jax.jit(jax.jacobian(lambda z: flow.apply(variables, z, method="forward")[0]))(np.ones(5))
  assert np.all((np.asarray(jacobian) != 0).sum(1) - 1 >= seen)


def test_a_coupling_moves_only_what_it_does_not_keep_and_by_a_bounded_scale():
  flow, variables = started(5, 10.0, max_log_scale=1.5)
  coupling = flow.bind(variables).couplings[0]
  outputs = np.asarray(coupling(100.0 * jnp.ones(5)))
  np.testing.assert_array_equal(outputs != 0, [[False, True, False, True, False]] * 2)
  np.testing.assert_array_equal(outputs, coupling(100.0 * jnp.array([1.0, 7.0, 1.0, -3.0, 1.0])))
  assert 1.49 < np.max(np.abs(outputs[0])) <= 1.5


def test_the_density_integrates_to_one_and_draws_are_of_it():
  flow, variables = started(2, 0.5)
  sample = jax.jit(lambda keys: flow.apply(variables, keys, method="sample"))
  draws = np.asarray(sample(keys_of(20_000)))
  side = np.linspace(-9, 9, 401)
  middle = 0.5 * (side[1:] + side[:-1])
  grid = np.stack(np.meshgrid(middle, middle, indexing="ij"), -1)
  mass = np.exp(np.float64(log_prob(flow, variables, grid))) * (side[1] - side[0]) ** 2
  assert abs(np.sum(mass) - 1) < 2e-3
  normal = np.exp(stats.norm.logpdf(grid).sum(-1)) * (side[1] - side[0]) ** 2
  assert 0.5 * np.abs(mass - normal).sum() > 0.2  # not what it started as
  counts, *_ = np.histogram2d(*draws.T, bins=[side[::20]] * 2)
  expected = mass.reshape(20, 20, 20, 20).sum((1, 3))
  assert counts.sum() > 0.998 * len(draws)
  assert 0.5 * np.abs(counts / len(draws) - expected).sum() < 0.03
  order = np.array([3, 1, 4, 0, 2])  # a draw depends on its key only
  np.testing.assert_allclose(sample(keys_of(20_000)[order]), draws[order], rtol=1e-6)


def test_gradients_are_finite_also_far_out():
  z = np.array([[0.0, 0.0, 0.0, 0.0], [1e3, -1e3, 1e3, 1e3]], np.float32)
  flow, variables = started(4, 1.0)
  gradients = jax.jit(jax.value_and_grad(lambda v, z: jnp.sum(flow.apply(v, z, method="log_prob")), (0, 1)))
  for parameters in (variables, jax.tree.map(np.zeros_like, variables)):
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients(parameters, z)))


@pytest.mark.parametrize(
  ("name", "value", "rule"),
  [
    ("z_dim", 1, "2 or more"),
    ("layers", 1, "2 or more"),
    ("width", 0, "1 or more"),
    ("max_log_scale", 0.0, "more than 0"),
  ],
)
def test_settings_that_cannot_be_are_errors(name, value, rule):
  with pytest.raises(ConfigError, match=f"{name}={value} must be {rule}"):
    CouplingFlow(**{"z_dim": 4, name: value})
