"""Optimizers against loops in numpy, on gradients that do not depend on the parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from common.errors import ConfigError
from common.optim import build_optimizer

STEPS = 20
GRADIENTS = np.random.default_rng(0).normal(size=(STEPS, 3)).astype(np.float32)
LINEAR = {"name": "linear", "start": 0.5, "end": 0.7, "steps": 10}
COSINE = {"name": "cosine", "start": 0.1, "end": 0.0, "steps": STEPS}


def path(section, grad_clip=0.0, gradients=GRADIENTS):
  """Parameters [STEPS, 3] after each update, from 0."""
  tx = build_optimizer(section, "optim", grad_clip)

  def step(carry, gradient):
    params, state = carry
    updates, state = tx.update(gradient, state, params)
    params = optax.apply_updates(params, updates)
    return (params, state), params

  start = jnp.zeros(3)
  return jax.jit(lambda: jax.lax.scan(step, (start, tx.init(start)), jnp.asarray(gradients))[1])()


def sgd(rates, momenta, gradients=GRADIENTS):
  velocity, params, found = np.zeros(3), np.zeros(3), []
  for gradient, rate, momentum in zip(gradients, rates, momenta, strict=True):
    velocity = momentum * velocity + gradient
    params = params - rate * velocity
    found.append(params)
  return np.array(found)


COUNT = np.arange(STEPS)


@pytest.mark.parametrize(
  ("rate", "momentum", "rates", "momenta"),
  [
    (0.1, 0.0, np.full(STEPS, 0.1), np.zeros(STEPS)),
    (0.1, 0.9, np.full(STEPS, 0.1), np.full(STEPS, 0.9)),
    # Goodfellow's schedules; both are read at the number of updates so far, so that the first update uses their start.
    (COSINE, LINEAR, 0.05 * (1 + np.cos(np.pi * COUNT / STEPS)), 0.5 + 0.2 * np.minimum(COUNT / 10, 1)),
  ],
)
def test_sgd(rate, momentum, rates, momenta):
  actual = path({"name": "sgd", "learning_rate": rate, "momentum": momentum})
  np.testing.assert_allclose(actual, sgd(rates, momenta), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("b2", [0.9, LINEAR])
def test_adam(b2):
  """Kingma & Ba 2015, Algorithm 1; eps is large enough to see that it stands outside the root.

  A schedule of b2 is read at each update, for the mean of squares and the correction, as in PyTorch if a loop sets it.
  """
  m, v, params, expected = 0.0, 0.0, np.zeros(3), []
  for t, g in enumerate(GRADIENTS.astype(np.float64), start=1):
    b = b2 if b2 == 0.9 else 0.5 + 0.2 * min((t - 1) / 10, 1)
    m, v = 0.5 * m + 0.5 * g, b * v + (1 - b) * g**2
    params = params - 0.1 * (m / (1 - 0.5**t)) / (np.sqrt(v / (1 - b**t)) + 1e-2)
    expected.append(params)
  actual = path({"name": "adam", "learning_rate": 0.1, "b1": 0.5, "b2": b2, "eps": 1e-2})
  np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_normalized_adam_sees_the_direction_of_each_array_only():
  """Adam's path on g / (|g| + norm_eps), each array by its own norm; norm_eps is large enough to see."""
  section = {"learning_rate": 0.1, "b1": 0.5, "b2": 0.9, "eps": 1e-2}
  scaled = GRADIENTS / (np.linalg.norm(GRADIENTS, axis=1, keepdims=True) + 0.5)
  expected = path({"name": "adam", **section}, gradients=scaled)
  actual = path({"name": "normalized_adam", "norm_eps": 0.5, **section})
  np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
  assert not np.allclose(actual, path({"name": "adam", **section}), atol=1e-2)

  tx = build_optimizer({"name": "normalized_adam", "learning_rate": 0.1, "eps": 1.0}, "optim")
  grads = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([0.0, -200.0]), "c": jnp.zeros(2)}
  updates, _ = tx.update(grads, tx.init(grads))
  # A first step of Adam with eps 1 is -learning_rate * g / (|g| + 1) in each coordinate.
  for name, unit in {"a": [0.6, 0.8], "b": [0.0, -1.0], "c": [0.0, 0.0]}.items():
    np.testing.assert_allclose(updates[name], -0.1 * np.array(unit) / (np.abs(unit) + 1), rtol=1e-5, atol=1e-7)


def test_adagrad():
  """Duchi et al. 2011, from empty accumulators: the first step has length learning_rate in each coordinate."""
  sums = np.cumsum(GRADIENTS.astype(np.float64) ** 2, axis=0)
  actual = path({"name": "adagrad", "learning_rate": 0.1})
  np.testing.assert_allclose(actual, -np.cumsum(0.1 * GRADIENTS / np.sqrt(sums), axis=0), rtol=1e-4, atol=1e-5)


def test_rmsprop():
  """The mean of squares from 0, and eps, large enough to see, outside the root: PyTorch's form, with its decay."""
  v, params, expected = 0.0, np.zeros(3), []
  for g in GRADIENTS.astype(np.float64):
    v = 0.99 * v + 0.01 * g**2
    params = params - 0.1 * g / (np.sqrt(v) + 0.3)
    expected.append(params)
  actual = path({"name": "rmsprop", "learning_rate": 0.1, "eps": 0.3})
  np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_clipping_is_of_the_global_norm():
  norms = np.linalg.norm(GRADIENTS, axis=1, keepdims=True)
  assert norms.min() < 1.5 < norms.max()
  clipped = GRADIENTS * np.minimum(1.0, 1.5 / norms)
  actual = path({"name": "sgd", "learning_rate": 0.1}, grad_clip=1.5)
  np.testing.assert_allclose(actual, sgd([0.1] * STEPS, [0.0] * STEPS, clipped), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
  ("section", "message"),
  [
    ({"name": "adam", "learning_rate": 0.0}, r"config\.optim: learning_rate=0\.0 must be above 0"),
    ({"name": "adam", "learning_rate": 0.1, "b1": 1.0}, r"config\.optim: b1=1\.0 must be at least 0 and below 1"),
    ({"name": "adam", "learning_rate": 0.1, "b2": -0.1}, r"config\.optim: b2=-0\.1 must be at least 0 and below 1"),
    ({"name": "adam", "learning_rate": {"name": "cos"}}, r'config\.optim\.learning_rate\.name="cos" is not one of'),
    (
      {"name": "normalized_adam", "learning_rate": 0.1, "norm_eps": 0.0},
      r"config\.optim: norm_eps=0\.0 must be above 0",
    ),
    (
      {"name": "rmspro"},
      r'"rmspro" is not one of adagrad, adam, normalized_adam, rmsprop, sgd; did you mean "rmsprop"',
    ),
    ({"name": "rmsprop", "learning_rate": 0.1, "decay": 1.0}, r"config\.optim: decay=1\.0 must be at least 0"),
  ],
)
def test_a_wrong_optimizer_is_an_error(section, message):
  with pytest.raises(ConfigError, match=message):
    build_optimizer(section, "optim")


@pytest.mark.parametrize("section", [{"name": "adam"}, {"name": "rmsprop"}, {"name": "adam", "b2": COSINE}])
def test_weights_are_clipped_after_an_update_and_others_stay_to_the_bit(section):
  """w <- clip(w + update, -c, c), as Arjovsky et al. 2017 have it in Algorithm 1, line 7."""
  section = {**section, "learning_rate": 0.01}
  free, clipped = (path({**section, "weight_clip": c}, gradients=GRADIENTS[:1]) for c in (0.0, 0.008))
  np.testing.assert_array_equal(path(section, gradients=GRADIENTS[:1]), free)
  assert np.any(np.abs(free) > 0.008)
  np.testing.assert_allclose(clipped, np.clip(free, -0.008, 0.008), rtol=1e-6)
  np.testing.assert_array_equal(path({**section, "weight_clip": 9.0}, gradients=GRADIENTS), path(section))
  assert np.abs(path({**section, "weight_clip": 0.008})).max() <= np.float32(0.008) * (1 + 1e-6)
