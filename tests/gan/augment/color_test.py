"""Maps of colours against NumPy's linear algebra, their distributions, and grey images."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import random
from gan.augment import color

RNG = np.random.default_rng(0)
MANY = random.row_keys(jax.random.key(0), jnp.arange(4000))
colored = jax.jit(color.colored, static_argnums=2)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_nothing_changes_at_0(channels):
  matrices, offsets = colored(MANY, jnp.float32(0.0), channels)
  np.testing.assert_array_equal(matrices, np.broadcast_to(np.eye(channels), matrices.shape))
  assert not np.any(offsets)


def test_the_map_applies_to_values_from_minus_1_to_1():
  matrix, offset = RNG.normal(size=(2, 3, 3)).astype(np.float32), RNG.normal(size=(2, 3)).astype(np.float32)
  x = RNG.uniform(size=(2, 4, 5, 3)).astype(np.float32)
  expected = np.einsum("bcd,bhwd->bhwc", matrix, 2 * x - 1) + offset[:, None, None]
  np.testing.assert_allclose(color.recolor(x, matrix, offset, (0.0, 1.0)), (expected + 1) / 2, atol=1e-5)
  np.testing.assert_allclose(color.recolor(2 * x - 1, matrix, offset, (-1.0, 1.0)), expected, atol=1e-5)


def test_a_third_of_a_turn_takes_red_to_green():
  turn = np.asarray(color._turn(jnp.array([2 * np.pi / 3, np.pi, 0.4])))
  np.testing.assert_allclose(turn[0] @ np.eye(3), np.roll(np.eye(3), 1, axis=0), atol=1e-6)
  for matrix in turn:
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(matrix @ np.ones(3), np.ones(3), atol=1e-6)
  assert colorsys.rgb_to_hsv(*np.clip(turn[1] @ [1.0, 0.0, 0.0], 0, 1))[0] == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_distributions_are_the_papers(channels):
  """On greys contrast and inversion scale, and brightness adds before both; on colours saturation scales too."""
  matrices, offsets = (np.asarray(x, np.float64) for x in colored(MANY, jnp.float32(1.0), channels))
  grey = np.ones(channels) / np.sqrt(channels)
  scale = matrices @ grey @ grey
  np.testing.assert_allclose(matrices @ grey, scale[:, None] * grey, atol=1e-4 * np.max(np.abs(scale)))
  assert np.mean(scale < 0) == pytest.approx(0.5, abs=0.03)
  assert np.std(np.log2(np.abs(scale))) == pytest.approx(0.5, rel=0.05)
  assert np.std(offsets[:, 0] / scale) == pytest.approx(0.2, rel=0.05)
  np.testing.assert_allclose(offsets, offsets[:, :1] * np.ones(channels), rtol=1e-3, atol=1e-5)
  if channels == 3:
    across = np.linalg.norm(matrices @ [1.0, -1.0, 0.0], axis=1) / np.sqrt(2) / np.abs(scale)
    assert np.std(np.log2(across)) == pytest.approx(1.0, rel=0.05)
    assert np.mean(np.log2(across)) == pytest.approx(0.0, abs=0.06)


def test_each_step_happens_with_probability_p():
  matrices, offsets = colored(MANY, jnp.float32(0.5), 3)
  assert np.mean(np.asarray(offsets)[:, 0] != 0) == pytest.approx(0.5, abs=0.03)
  same = np.all(np.asarray(matrices) == np.eye(3), axis=(1, 2))  # contrast, hue and saturation rest, inversion too
  assert np.mean(same) == pytest.approx(0.5**3 * 0.75, abs=0.02)
