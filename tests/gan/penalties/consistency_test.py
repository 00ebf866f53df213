"""CR and bCR: the moved copy against NumPy, closed forms for a linear critic, and where gradients go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import random
from common.errors import ConfigError
from gan.penalties import build_penalties
from gan.penalties.consistency import BalancedConsistency, Consistency, moved_copy
from tests.gan.penalties.seen import FAKE, REAL, RNG, linear, see

W = jnp.asarray(RNG.normal(size=(4, 3, 2)), jnp.float32)


def copies(images, rows, reach, flip):
  """{name: image} of every copy that there may be."""
  pixels = [round(reach * side) for side in images.shape[1:3]]
  padded = np.pad(images, ((0, 0), (pixels[0],) * 2, (pixels[1],) * 2, (0, 0)), "reflect")
  height, width = images.shape[1:3]
  found = []
  for y in range(2 * pixels[0] + 1):
    for x in range(2 * pixels[1] + 1):
      cut = padded[:, y : y + height, x : x + width]
      found += [cut, cut[:, :, ::-1]] if flip else [cut]
  return np.stack(found)


@pytest.mark.parametrize("flip", [True, False])
def test_a_copy_is_shifted_with_reflection_and_flipped_each_as_often(flip):
  image = RNG.normal(size=(1, 8, 16, 1)).astype(np.float32)
  rows = random.row_keys(jax.random.key(0), jnp.arange(2000))
  x = jnp.broadcast_to(image, (2000, 8, 16, 1))
  found = np.asarray(jax.jit(moved_copy, static_argnums=(2, 3))(x, rows, 0.125, flip))
  options = copies(image, rows, 0.125, flip)[:, 0]
  which = [np.flatnonzero(np.all(options == copy, axis=(1, 2, 3))) for copy in found]
  assert len(options) == 3 * 5 * (2 if flip else 1) and all(len(w) == 1 for w in which)
  counts = np.bincount(np.concatenate(which), minlength=len(options))
  expected = 2000 / len(options)
  assert np.sum((counts - expected) ** 2 / expected) < len(options) + 5 * np.sqrt(2 * len(options))


def test_each_half_is_compared_with_its_own_copy():
  """weight * (w . (x - T(x)))^2, of real images alone or of both."""
  seen, d = see(linear(W)), linear(W)
  settings = {"reach": 0.25, "flip": True}
  apart = {
    half: np.asarray(d(x) - d(moved_copy(x, random.row_stream(seen.rows, half), 0.25, True)), np.float64)
    for half, x in (("real", REAL), ("fake", FAKE))
  }
  np.testing.assert_allclose(Consistency(weight=3.0, **settings)(seen, ())[0], 3 * apart["real"] ** 2, rtol=1e-4)
  both = BalancedConsistency(weight=3.0, fake_weight=5.0, **settings)(seen, ())[0]
  np.testing.assert_allclose(both, 3 * apart["real"] ** 2 + 5 * apart["fake"] ** 2, rtol=1e-4)
  assert np.mean(apart["real"] ** 2) > 0.1 and np.mean(apart["fake"] ** 2) > 0.1


def test_a_critic_that_does_not_see_the_move_pays_nothing():
  """The sum of all pixels does not change under a flip."""
  still = see(linear(1.0))
  np.testing.assert_allclose(BalancedConsistency(reach=0.0, flip=True)(still, ())[0], np.zeros(6), atol=1e-8)


def test_the_gradient_passes_through_both_passes():
  def penalty(w):
    d = linear(w)
    return jnp.sum(Consistency(weight=1.0, reach=0.25)(see(d), ())[0])

  rows = random.row_stream(see().rows, "real")
  move = np.asarray(REAL - moved_copy(REAL, rows, 0.25, True), np.float64)
  expected = 2 * np.einsum("b,bhwc->hwc", np.einsum("bhwc,hwc->b", move, W), move)
  np.testing.assert_allclose(jax.grad(penalty)(W), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
  ("section", "message"),
  [
    ({"consistency": {"weight": 0.0}}, r"config\.penalties\.consistency: weight=0\.0 must be above 0"),
    ({"consistency": {"reach": 0.5}}, r"reach=0\.5 must be at least 0 and below 0\.5"),
    ({"balanced_consistency": {"fake_weight": 0.0}}, r'fake_weight=0\.0 must be above 0; "consistency" looks'),
  ],
)
def test_wrong_settings_are_named(section, message):
  with pytest.raises(ConfigError, match=message):
    build_penalties(section)
