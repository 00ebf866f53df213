"""A step of inverse autoregressive flow: what it depends on, its log-determinant, and its closed form at the start."""

import jax
import numpy as np
import pytest

from tests.vae.tiny_model import drawn
from vae.posteriors.inverse_autoregressive import GATE_BIAS, AutoregressiveStep

Z, H = np.random.default_rng(1).normal(size=12).astype(np.float32), np.array([1.0, -0.5, 0.3], np.float32)


@pytest.mark.parametrize(
  ("order", "width", "layers"),
  [((0, 1, 2, 3, 4), 23, 1), ((4, 3, 2, 1, 0), 23, 2), ((2, 0, 3, 1, 4), 23, 3), ((0,), 4, 1), (range(12), 4, 1)],
)
def test_a_coordinate_sees_the_context_and_all_earlier_ones_and_no_other(order, width, layers):
  order, z = tuple(order), Z[: len(order)]
  step = AutoregressiveStep(order, width, layers)
  params = drawn(step.init, z, H)
  (by_z, by_h), log_det = jax.jit(jax.jacobian(lambda z, h: step.apply(params, z, h), (0, 1), has_aux=True))(z, H)
  np.testing.assert_allclose(log_det, np.linalg.slogdet(by_z)[1], rtol=1e-5)
  assert log_det < 0 and np.all(np.asarray(by_h) != 0)  # a gate below 1 at every coordinate
  earlier = np.array(order)[None] < np.array(order)[:, None]
  seen = np.asarray(by_z) != 0
  assert not np.any(seen & ~(earlier | np.eye(len(order), dtype=bool))) and np.all(np.diag(seen))
  if width >= len(order):
    np.testing.assert_array_equal(seen, earlier | np.eye(len(order), dtype=bool))
  else:  # late coordinates are still reached
    assert seen[-1].sum() >= 9


def test_it_starts_as_a_gate_that_keeps_most_of_z():
  z = np.array([0.3, -2.0, 5.0, 1.0], np.float32)
  step = AutoregressiveStep((0, 1, 2, 3), width=8, layers=1)
  variables = jax.jit(step.init)(jax.random.key(0), z, H)
  found, log_det = step.apply(variables, z, H)
  gate = 1 / (1 + np.exp(-GATE_BIAS))
  np.testing.assert_allclose(found, gate * z, rtol=1e-6)
  np.testing.assert_allclose(log_det, 4 * np.log(gate), rtol=1e-6)
  assert 0.73 <= gate < 0.9  # the sigmoid of 1 to 2

  # The last bias is then all there is of m and s.
  mean, s = np.array([2.0, -1.0, 0.5, 3.0]), np.array([-4.0, 0.0, 1.0, 3.0])
  variables["params"]["out_bias"] = np.float32([*mean, *s])
  found, log_det = step.apply(variables, z, H)
  gates = 1 / (1 + np.exp(-GATE_BIAS - s))
  np.testing.assert_allclose(found, gates * z + (1 - gates) * mean, rtol=1e-5)
  np.testing.assert_allclose(log_det, np.sum(np.log(gates)), rtol=1e-5)
