"""Top-k: which fakes count and how much, on one device and on several."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from common.parallel import AXIS
from gan.top_k import build_top_k

HALF = build_top_k({"name": "constant", "value": 0.5})


def test_the_k_with_the_highest_logits_count_alike():
  logits = jnp.array([0.3, -1.0, 2.0, 0.1, 5.0, -7.0])
  np.testing.assert_array_equal(HALF.weights(logits, jnp.arange(6), jnp.int32(0), None), [2, 0, 2, 0, 2, 0])
  losses = np.arange(6.0)
  mean = jnp.mean(HALF.weights(logits, jnp.arange(6), jnp.int32(0), None) * losses)
  assert mean == np.mean([0.0, 2.0, 4.0])


def test_ties_leave_k():
  weights = HALF.weights(jnp.zeros(6), jnp.arange(6), jnp.int32(0), None)
  np.testing.assert_array_equal(weights, [2, 2, 2, 0, 0, 0])


def test_devices_rank_the_global_batch():
  """All of the best may lie on one device; ranked by device each would count its own best."""
  logits = jnp.array([9.0, 8.0, 7.0, 6.0, 1.0, 1.0, 1.0, 1.0, 2.0, 1.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0])
  expected = HALF.weights(logits, jnp.arange(16), jnp.int32(0), None)
  assert np.sum(np.asarray(expected) > 0) == 8

  def local(logits, index):
    return HALF.weights(logits, index, jnp.int32(0), AXIS)

  found = jax.vmap(local, axis_name=AXIS)(logits.reshape(8, 2), jnp.arange(16).reshape(8, 2))
  np.testing.assert_array_equal(found.reshape(-1), expected)


def test_k_falls_to_its_floor():
  """0.9 a count of 100: 100, 90, 81, 73, then half."""
  top_k = build_top_k({"name": "exponential", "start": 1.0, "factor": 0.9, "floor": 0.5})
  logits = jnp.arange(100.0)
  counts = [int(jnp.sum(top_k.weights(logits, jnp.arange(100), jnp.int32(n), None) > 0)) for n in (0, 1, 2, 3, 50)]
  assert counts == [100, 90, 81, 73, 50]


def test_one_is_left_and_no_gradient_comes_through():
  top_k = build_top_k({"name": "constant", "value": 0.01})
  logits = jnp.array([1.0, 3.0, 2.0])
  np.testing.assert_array_equal(top_k.weights(logits, jnp.arange(3), jnp.int32(0), None), [0, 3, 0])
  gradient = jax.grad(lambda x: jnp.sum(top_k.weights(x, jnp.arange(3), jnp.int32(0), None) * x))(logits)
  np.testing.assert_array_equal(gradient, [0, 3, 0])


@pytest.mark.parametrize("value", [0.0, 1.5])
def test_a_share_is_above_0_and_at_most_1(value):
  with pytest.raises(ConfigError, match=rf"config\.top_k\.value={value} must be above 0 and at most 1"):
    build_top_k({"name": "constant", "value": value})
