"""Affine maps and shifts against NumPy, their ranges, and what a probability of 1 hides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import random
from gan.augment import geometry

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(8, 5, 5, 2)).astype(np.float32)
warp = jax.jit(geometry.warp)
MANY = random.row_keys(jax.random.key(0), jnp.arange(4000))


def keys(t):
  """Cubic convolution's kernel (Keys 1981, Eq. 15)."""
  t = abs(t)
  return 1.5 * t**3 - 2.5 * t**2 + 1 if t <= 1 else -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0


def slow_warp(image, inverse):
  """One pixel after the other, all pixels of a thrice reflected image weighted."""
  height, width, _ = image.shape
  margin = 3 * max(height, width)
  padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), "reflect")
  out = np.zeros_like(image)
  for row in range(height):
    for column in range(width):
      x, y, _ = inverse @ [column - (width - 1) / 2, row - (height - 1) / 2, 1.0]
      x, y = x + (width - 1) / 2 + margin, y + (height - 1) / 2 + margin
      for i in range(int(y) - 3, int(y) + 4):
        for j in range(int(x) - 3, int(x) + 4):
          out[row, column] += keys(y - i) * keys(x - j) * padded[i, j]
  return out


def test_a_warp_is_cubic_convolution_of_the_reflected_image():
  images = RNG.normal(size=(3, 6, 4, 2)).astype(np.float32)
  angle = 0.7
  inverses = np.array(
    [
      [[np.cos(angle), np.sin(angle), 0.3], [-np.sin(angle), np.cos(angle), -1.6], [0, 0, 1]],
      [[1.7, 0, 0], [0, 0.6, 0], [0, 0, 1]],
      [[1, 0, 9.4], [0, 1, -7.1], [0, 0, 1]],
    ],
    np.float32,
  )
  expected = [slow_warp(image, inverse) for image, inverse in zip(images, inverses, strict=True)]
  np.testing.assert_allclose(warp(jnp.asarray(images), jnp.asarray(inverses)), expected, atol=2e-5)


@pytest.mark.parametrize("height", [5, 6])
def test_what_takes_pixels_to_pixels_leaves_their_values(height):
  image = jnp.asarray(RNG.normal(size=(4, height, height, 2)), jnp.float32)
  whole = jnp.arange(4)
  turns = jnp.array([1.0, 0.0, -1.0, 0.0])[whole], jnp.array([0.0, 1.0, 0.0, -1.0])[whole]
  turned = np.asarray(warp(image, geometry._turned(*turns)))
  for k in range(4):
    np.testing.assert_array_equal(turned[k], np.rot90(image[k], k))
  flipped = warp(image, geometry._scaled(-jnp.ones(4), jnp.ones(4)))
  np.testing.assert_array_equal(flipped, image[:, :, ::-1])
  right_down = warp(image, geometry._moved(jnp.tile(jnp.array([2.0, 1.0]), (4, 1))))
  np.testing.assert_array_equal(right_down[:, 1:, 2:], image[:, :-1, :-2])
  np.testing.assert_array_equal(right_down[:, 0, 2:], image[:, 1, :-2])  # reflected, the border not twice


def test_a_composition_is_one_after_the_other():
  turn = geometry._turned(jnp.zeros(8), jnp.ones(8))
  move = geometry._moved(jnp.tile(jnp.array([1.0, 0.0]), (8, 1)))
  together = warp(IMAGES, geometry.in_order(turn, move))
  np.testing.assert_array_equal(together, warp(warp(IMAGES, turn), move))
  assert np.any(together != warp(IMAGES, geometry.in_order(move, turn)))


MAPS = {
  "blit": jax.jit(lambda p: geometry.blit(MANY, p, 16, 64)),
  "general": jax.jit(lambda p: geometry.general(MANY, p, 16, 64)),
}


@pytest.mark.parametrize("name", MAPS)
def test_nothing_moves_at_0(name):
  still, moving = (np.asarray(MAPS[name](p)) for p in (0.0, 1.0))
  np.testing.assert_array_equal(still, np.broadcast_to(np.eye(3), still.shape))
  assert np.mean(np.any(moving != np.eye(3), axis=(1, 2))) > 0.8 and np.all(np.isfinite(moving))


def share(values, expected):
  """Of 4,000 draws, within four standard errors."""
  assert abs(np.mean(values) - expected) < 4 * np.sqrt(expected * (1 - expected) / len(MANY)) + 1e-9


def test_the_distributions_are_the_papers():
  always, u = np.ones(len(MANY), bool), random.uniform(MANY, (2,))
  sometimes, normal = always.copy(), random.normal(MANY, (2,))
  sometimes[::2] = False
  share(geometry.mirrored(sometimes, u[:, 0])[:, 0, 0] < 0, 0.25)
  turns = np.asarray(geometry.quarter_turned(sometimes, u[:, 0]))[:, :2, :2].reshape(-1, 4)
  for cos, sin in ((0, 1), (-1, 0), (0, -1)):
    share(np.all(turns == [cos, -sin, sin, cos], axis=1), 0.125)
  pixels = np.asarray(geometry.moved_by_pixels(always, u, 16, 64))[:, :2, 2]
  assert (np.ptp(pixels[:, 0]), np.ptp(pixels[:, 1])) == (16, 4)
  np.testing.assert_array_equal(pixels, np.round(pixels))
  for move, sign in ((geometry.scaled, 1), (geometry.stretched, -1)):
    logs = np.log2(np.asarray(move(always, normal[:, 0]))[:, [0, 1], [0, 1]])
    np.testing.assert_allclose(logs[:, 0], sign * logs[:, 1], atol=1e-5)
    np.testing.assert_allclose(np.std(logs[:, 0]), 0.2, rtol=0.05)
  places = np.asarray(geometry.moved(always, normal, 16, 64))[:, :2, 2]
  np.testing.assert_allclose(np.std(places, axis=0), [8.0, 2.0], rtol=0.05)
  angles = np.asarray(geometry.turned(always, u[:, 0]))
  angles = np.arctan2(angles[:, 1, 0], angles[:, 0, 0])
  np.testing.assert_allclose(np.histogram(angles, 4, (-np.pi, np.pi))[0], 1000, atol=4 * np.sqrt(750))


def test_each_step_happens_with_probability_p_and_the_two_turns_together():
  """General: scale, stretch, shift and the turns. Blit: a flip that is none, a turn by 0, a move by 0 count too."""
  share(np.all(np.asarray(MAPS["general"](0.2)) == np.eye(3), axis=(1, 2)), 0.8**4)
  # Moved by 0 of -2 .. 2 down with 1/4, of -8 .. 8 right with 1/16. Flipped and turned half is a flip of y.
  share(np.all(np.asarray(MAPS["blit"](1.0)) == np.eye(3), axis=(1, 2)), 0.5 * 0.25 / 64)
  share(np.all(np.asarray(MAPS["blit"](0.2))[:, :2, :2] == np.eye(2), axis=(1, 2)), 0.9 * 0.85)


def test_a_shift_by_pixels_is_numpys():
  by = np.array([[0, 0], [2, -1], [-2, 1], [1, 1], [-1, 0], [0, 1], [2, 1], [-2, -1]])
  found = geometry.shift(jnp.asarray(IMAGES), jnp.asarray(by), (2, 1), 0.5)
  for image, (down, right), new in zip(IMAGES, by, found, strict=True):
    padded = np.pad(image, ((2, 2), (1, 1), (0, 0)), constant_values=0.5)
    np.testing.assert_array_equal(new, padded[2 - down : 7 - down, 1 - right : 6 - right])
