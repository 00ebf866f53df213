"""Schedules against their formulas, and the errors of wrong ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from common.schedules import build_schedule


def values(schedule, counts):
  """The schedule at each of the counts, as training sees it: traced, int32 in, a float32 scalar out."""
  got = jax.jit(jax.vmap(build_schedule(schedule, "rate")))(jnp.asarray(counts, jnp.int32))
  assert got.dtype == jnp.float32
  return got


def test_a_number_is_constant():
  np.testing.assert_array_equal(values(0.25, [0, 1, 10**9]), np.float32([0.25] * 3))
  np.testing.assert_array_equal(values({"name": "constant", "value": 2}, [0, 7]), [2.0, 2.0])


def test_goodfellows_momentum_rises_from_half_to_seven_tenths():
  """250 epochs of 500 batches, then it stays (Goodfellow et al. 2014, the authors' mnist.yaml)."""
  momentum = {"name": "linear", "start": 0.5, "end": 0.7, "steps": 125_000}
  np.testing.assert_allclose(values(momentum, [0, 62_500, 125_000, 10**6]), [0.5, 0.6, 0.7, 0.7], rtol=1e-6)


def test_goodfellows_learning_rate_falls_to_its_floor():
  rate = {"name": "exponential", "start": 0.1, "factor": 1 / 1.000004, "floor": 1e-6}
  counts = np.array([0, 1000, 125_000, 10**6])
  np.testing.assert_allclose(values(rate, counts), 0.1 / 1.000004**counts, rtol=1e-4)
  np.testing.assert_allclose(values(rate, [10**7]), [1e-6], rtol=1e-6)


def test_linear_waits():
  warm_up = {"name": "linear", "start": 0.0, "end": 1.0, "steps": 4, "delay": 10}
  np.testing.assert_allclose(values(warm_up, [0, 10, 11, 14, 99]), [0.0, 0.0, 0.25, 1.0, 1.0])


def test_cosine_is_half_a_wave():
  counts = np.array([0, 25, 50, 100, 200])
  expected = 0.1 + 0.9 * (1 + np.cos(np.pi * np.minimum(counts / 100, 1))) / 2
  np.testing.assert_allclose(values({"name": "cosine", "start": 1.0, "end": 0.1, "steps": 100}, counts), expected, 1e-6)


def test_piecewise_multiplies_at_its_milestones():
  steps = {"name": "piecewise", "start": 1.0, "factor": 0.1, "milestones": (10, 20)}
  np.testing.assert_allclose(values(steps, [0, 9, 10, 19, 20, 99]), [1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-6)


@pytest.mark.parametrize(
  ("schedule", "message"),
  [
    ({"name": "linaer"}, r'config\.rate\.name="linaer" is not one of .*did you mean "linear"'),
    ({"name": "linear", "start": 0.0, "end": 1.0, "steps": 0}, r"config\.rate: steps=0 must be above 0"),
    ({"name": "cosine", "start": 0.0, "end": 1.0, "steps": -1}, r"config\.rate.*steps=-1 must be"),
    ({"name": "exponential", "start": 1.0, "factor": 0.0}, r"config\.rate: factor=0\.0 must be above 0"),
    ({"name": "constant"}, r'config\.rate lacks value, which "constant" needs'),
  ],
)
def test_a_wrong_schedule_is_an_error(schedule, message):
  with pytest.raises(ConfigError, match=message):
    build_schedule(schedule, "rate")
