"""The gradient penalty: closed forms, where between the images it looks, and its derivative for the critic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import random
from common.build import ConfigError
from gan.penalties import build_penalties
from gan.penalties.gradient_penalty import GradientPenalty

SHAPE = (6, 4, 3, 2)
RNG = np.random.default_rng(0)
REAL, FAKE = (jnp.asarray(RNG.normal(size=SHAPE), jnp.float32) for _ in range(2))
ROWS = random.row_keys(jax.random.key(0), jnp.arange(6))


def linear(w):
  return lambda x: jnp.sum(x * w, axis=(1, 2, 3))


@pytest.mark.parametrize(("scale", "target"), [(0.1, 1.0), (2.0, 1.0), (0.5, 0.0)])
def test_a_linear_critic_has_one_slope_everywhere(scale, target):
  """weight * (|w| - target)^2, from below and from above; its derivative 2 * weight * (|w| - target) * w / |w|."""
  w = scale * RNG.normal(size=SHAPE[1:])
  norm, penalty = np.sqrt(np.sum(w**2)), GradientPenalty(weight=10.0, target=target)
  np.testing.assert_allclose(penalty(linear(w), REAL, FAKE, ROWS), np.full(6, 10.0 * (norm - target) ** 2), rtol=1e-5)
  gradient = jax.grad(lambda w: jnp.mean(penalty(linear(w), REAL, FAKE, ROWS)))(jnp.asarray(w, jnp.float32))
  np.testing.assert_allclose(gradient, 20.0 * (norm - target) * w / norm, rtol=1e-4)


def test_each_pair_has_one_point_of_its_own_between_its_images():
  seen = []

  def critic(x):
    seen.append(x)
    return 0.5 * jnp.sum(x**2, axis=(1, 2, 3))  # its gradient is x

  penalty = GradientPenalty(weight=2.0)(critic, REAL, FAKE, ROWS)
  points = np.asarray(jax.lax.stop_gradient(random.uniform(ROWS, (1, 1, 1)) * (REAL - FAKE) + FAKE))
  np.testing.assert_allclose(penalty, 2.0 * (np.sqrt(np.sum(points**2, axis=(1, 2, 3))) - 1) ** 2, rtol=1e-4)
  mix = np.asarray((points - FAKE) / (REAL - FAKE)).reshape(6, -1)
  assert np.all((mix > -1e-4) & (mix < 1 + 1e-4))
  assert np.ptp(mix, axis=1).max() < 1e-2 and np.ptp(mix[:, 0]) > 0.2
  few = GradientPenalty(weight=2.0)(critic, REAL[3:5], FAKE[3:5], ROWS[3:5])
  np.testing.assert_allclose(few, penalty[3:5], rtol=1e-5)


def test_a_flat_critic_gives_no_nan():
  """At slope 0 the norm has no derivative; the penalty takes 0 and is weight * target^2."""
  penalty = GradientPenalty()
  value, gradient = jax.value_and_grad(lambda w: jnp.mean(penalty(linear(w), REAL, FAKE, ROWS)))(jnp.zeros(SHAPE[1:]))
  np.testing.assert_allclose(value, 10.0)
  np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize(
  ("section", "message"),
  [
    ({"gradient_penlty": {}}, r'config\.penalties="gradient_penlty" is not one of .*did you mean "gradient_penalty"'),
    ({"gradient_penalty": 10.0}, r"config\.penalties\.gradient_penalty=10\.0 is not a section"),
    ({"gradient_penalty": {"wight": 1.0}}, r'config\.penalties\.gradient_penalty\.wight is unknown.*"weight"'),
    ({"gradient_penalty": {"weight": 0.0}}, r"config\.penalties\.gradient_penalty: weight=0\.0 must be above 0"),
    ({"gradient_penalty": {"target": -1.0}}, r"config\.penalties\.gradient_penalty: target=-1\.0 must be 0 or more"),
  ],
)
def test_a_wrong_section_is_named(section, message):
  with pytest.raises(ConfigError, match=message):
    build_penalties(section)


def test_sections_become_penalties():
  assert build_penalties({}) == {}
  assert build_penalties({"gradient_penalty": {"weight": 3.0}}) == {"gradient_penalty": GradientPenalty(3.0, 1.0)}
