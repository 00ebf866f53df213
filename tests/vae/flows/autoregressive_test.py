"""A step of inverse autoregressive flow against its jacobian and its closed form at the start."""

import jax
import numpy as np

from tests.vae.flows.parameters import drawn
from vae.flows.autoregressive import GATE_BIAS, AutoregressiveStep

Z, H = np.array([0.3, -2.0, 5.0, 1.0], np.float32), np.array([1.0, -0.5], np.float32)


def test_the_log_determinant_is_of_the_jacobian():
  order = (3, 1, 2, 0)
  step = AutoregressiveStep(order, width=16, layers=2)
  params = drawn(step.init, Z, H)
  jacobian, log_det = jax.jit(jax.jacobian(lambda z: step.apply(params, z, H), has_aux=True))(Z)
  np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], rtol=1e-5)
  earlier = np.array(order)[None] < np.array(order)[:, None]
  np.testing.assert_array_equal(jacobian != 0, earlier | np.eye(4, dtype=bool))
  assert log_det < 0  # a gate below 1 at every coordinate


def test_it_starts_as_a_gate_that_keeps_most_of_z():
  step = AutoregressiveStep((0, 1, 2, 3), width=8)
  variables = jax.jit(step.init)(jax.random.key(0), Z, H)
  found, log_det = step.apply(variables, Z, H)
  gate = 1 / (1 + np.exp(-GATE_BIAS))
  np.testing.assert_allclose(found, gate * Z, rtol=1e-6)
  np.testing.assert_allclose(log_det, 4 * np.log(gate), rtol=1e-6)
  assert 0.73 <= gate < 0.9  # the sigmoid of 1 to 2

  # The last bias is then all there is of m and s.
  mean, s = np.array([2.0, -1.0, 0.5, 3.0]), np.array([-4.0, 0.0, 1.0, 3.0])
  variables["params"]["MADE_0"]["out_bias"] = np.float32([*mean, *s])
  found, log_det = step.apply(variables, Z, H)
  gates = 1 / (1 + np.exp(-GATE_BIAS - s))
  np.testing.assert_allclose(found, gates * Z + (1 - gates) * mean, rtol=1e-5)
  np.testing.assert_allclose(log_det, np.sum(np.log(gates)), rtol=1e-5)
