"""The coupling flow as a density: its start, inverse, jacobian and draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from common import random
from common.errors import ConfigError
from tests.vae.tiny_model import drawn, keys_of
from vae.samplers.coupling import CouplingFlow


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


def test_inverse_log_determinant_and_draws():
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
  draws = flow.apply(variables, keys_of(4), method="sample")
  drawn_from = flow.apply(variables, draws, method="forward")[0]
  np.testing.assert_allclose(drawn_from, random.normal(keys_of(4), (z_dim,)), rtol=1e-4, atol=1e-4)
  whole = (stats.norm.logpdf(x).sum(-1) + expected).reshape(4, 3)
  np.testing.assert_allclose(log_prob(flow, variables, z), whole, rtol=1e-4, atol=1e-3)


def test_every_coordinate_moves_by_others():
  """Two couplings move all; four let all see all."""
  for layers, seen in ((2, 1), (4, 4)):
    flow, variables = started(5, 1.0, layers=layers)
    jacobian = jax.jit(jax.jacobian(lambda z, f=flow, v=variables: f.apply(v, z, method="forward")[0]))(np.ones(5))
    assert np.all((np.asarray(jacobian) != 0).sum(1) - 1 >= seen)


def test_a_coupling_moves_only_what_it_does_not_keep_and_by_a_bounded_scale():
  flow, variables = started(5, 10.0, max_log_scale=1.5)
  coupling = flow.bind(variables).couplings[0]
  outputs = np.asarray(coupling(100.0 * jnp.ones(5)))
  np.testing.assert_array_equal(outputs != 0, [[False, True, False, True, False]] * 2)
  np.testing.assert_array_equal(outputs, coupling(100.0 * jnp.array([1.0, 7.0, 1.0, -3.0, 1.0])))
  assert 1.49 < np.max(np.abs(outputs[0])) <= 1.5


def test_gradients_are_finite_also_far_out():
  z = np.array([[0.0, 0.0, 0.0, 0.0], [1e3, -1e3, 1e3, 1e3]], np.float32)
  flow, variables = started(4, 1.0)
  gradients = jax.jit(jax.value_and_grad(lambda v, z: jnp.sum(flow.apply(v, z, method="log_prob")), (0, 1)))
  for parameters in (variables, jax.tree.map(np.zeros_like, variables)):
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients(parameters, z)))


def test_settings_that_cannot_be_are_errors():
  for name, value, least in (("z_dim", 1, 2), ("layers", 1, 2), ("width", 0, 1), ("max_log_scale", 0, "more than 0")):
    with pytest.raises(ConfigError, match=f"{name}={value} must be {least}"):
      CouplingFlow(**{"z_dim": 4, name: value})
