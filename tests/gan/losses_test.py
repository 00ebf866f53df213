"""Adversarial losses against probabilities in float64, and where those overflow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from gan.losses import LOSSES

REAL, FAKE = np.array([-3.0, 0.0, 1.5, 4.0]), np.array([2.0, -1.0, 0.5, -6.0])


@pytest.mark.parametrize("name", LOSSES)
def test_the_discriminators_loss_is_goodfellows(name):
  expected = -np.log(expit(REAL)) - np.log(1 - expit(FAKE))
  np.testing.assert_allclose(LOSSES[name]().discriminator(REAL, FAKE), expected, rtol=1e-5)


def test_the_generators_losses_are_goodfellows():
  np.testing.assert_allclose(LOSSES["saturating"]().generator(REAL, FAKE), np.log(1 - expit(FAKE)), rtol=1e-5)
  np.testing.assert_allclose(LOSSES["non_saturating"]().generator(REAL, FAKE), -np.log(expit(FAKE)), rtol=1e-5)


def test_at_the_games_value_the_discriminator_knows_nothing():
  """D = 1/2 everywhere: L_D = log 4 (Goodfellow et al. 2014, Theorem 1)."""
  for loss in LOSSES.values():
    np.testing.assert_allclose(loss().discriminator(jnp.zeros(3), jnp.zeros(3)), np.log(4), rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_both_players_gain_in_their_own_direction(name):
  """Gradient descent raises D on real and lowers it on fake; G raises it on fake and cannot touch real."""
  loss = LOSSES[name]()
  on_real, on_fake = jax.grad(lambda r, f: jnp.sum(loss.discriminator(r, f)), (0, 1))(REAL, FAKE)
  assert np.all(on_real < 0) and np.all(on_fake > 0)
  on_real, on_fake = jax.grad(lambda r, f: jnp.sum(loss.generator(r, f)), (0, 1))(REAL, FAKE)
  assert np.all(on_real == 0) and np.all(on_fake < 0)


@pytest.mark.parametrize(
  ("name", "sure_of_fake"), [("saturating", 0.0), ("non_saturating", -1.0)]
)  # where D is sure, the first gives G no gradient: why the second exists
def test_extreme_logits_stay_finite_and_saturate_as_named(name, sure_of_fake):
  loss, logits = LOSSES[name](), jnp.array([-1e4, 1e4])
  for player in (loss.discriminator, loss.generator):
    value, grads = jax.value_and_grad(lambda r, f, player=player: jnp.sum(player(r, f)), (0, 1))(logits, logits)
    assert np.all(np.isfinite(value)) and np.all(np.isfinite(grads))
  assert jax.grad(lambda f: loss.generator(0.0, f))(-1e4) == sure_of_fake
