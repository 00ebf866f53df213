"""Pixel losses against their equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.build import build
from common.errors import ConfigError
from common.restoration.losses import LOSSES, charbonnier, l1, l2

ERROR = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 5, 2)), jnp.float32)


def test_losses_are_means_over_the_values_of_each_image():
  rows = np.asarray(ERROR, np.float64).reshape(3, -1)
  for loss, expected in ((l1(), np.abs(rows)), (l2(), rows**2), (charbonnier(0.5), np.sqrt(rows**2 + 0.25))):
    np.testing.assert_allclose(loss(ERROR), expected.mean(axis=1), rtol=1e-6)


def test_charbonnier_has_a_gradient_of_0_at_0_and_of_1_far_away():
  slope = jax.grad(lambda e: charbonnier(0.1)(e.reshape(1, 1, 1, 1))[0])
  np.testing.assert_allclose([slope(jnp.array(0.0)), slope(jnp.array(9.0))], [0.0, 1.0], atol=1e-4)


def test_an_epsilon_of_0_is_refused():
  with pytest.raises(ConfigError, match=r"epsilon=0.0 must be above 0; for 0 take --config\.loss\.name=l1"):
    build(LOSSES, {"name": "charbonnier", "epsilon": 0.0}, "loss")
