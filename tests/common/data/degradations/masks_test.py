import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from common import random
from common.data.degradations.masks import Box, Mask, Pixels, Strokes
from common.errors import ConfigError

KEYS = random.row_keys(jax.random.key(0), jnp.arange(200))
X = jnp.asarray(np.random.RandomState(0).rand(200, 28, 20, 3).astype(np.float32)) + 0.1


def holes(mask: Mask, height: int, width: int) -> np.ndarray:
  return np.asarray(jax.jit(lambda keys: mask.hole(keys, height, width))(KEYS))[..., 0]


@pytest.mark.parametrize("mask", [Box(14, 10), Strokes(), Pixels(0.5)], ids=lambda mask: type(mask).__name__)
def test_the_hole_is_zero_and_marked(mask):
  seen = np.asarray(jax.jit(mask)(X, KEYS))
  assert seen.shape == (200, *mask.shape((28, 20, 3)))
  hole = seen[..., 3:] == 1
  assert np.isin(seen[..., 3], (0, 1)).all() and hole.any()
  np.testing.assert_array_equal(seen[..., :3], np.where(hole, 0, X))


def test_a_central_box_leaves_equal_margins():
  hole = holes(Box(14, 10), 28, 20)[0]
  expected = np.zeros((28, 20), bool)
  expected[7:21, 5:15] = True
  np.testing.assert_array_equal(hole, expected)


def test_a_random_box_reaches_every_place():
  hole = holes(Box(20, 15, "random"), 28, 20)
  assert (hole.sum(axis=(1, 2)) == 300).all()
  first = np.argmax(hole.any(axis=2), axis=1)
  np.testing.assert_array_equal(np.unique(first), np.arange(9))
  assert hole.any(axis=0).all()


def test_a_stroke_has_the_area_of_its_brush():
  """One straight piece: a rectangle and two half circles, where it does not leave the image."""
  hole = holes(Strokes(count=1, pieces=1, length=0.25, width=0.1), 100, 100)
  inside = ~(hole[:, [0, -1]].any(axis=(1, 2)) | hole[:, :, [0, -1]].any(axis=(1, 2)))
  assert inside.sum() > 30
  np.testing.assert_allclose(hole[inside].sum(axis=(1, 2)), 25 * 10 + np.pi * 5**2, rtol=0.06)


def test_a_stroke_goes_on_where_a_piece_ends():
  hole = holes(Strokes(count=1, pieces=5, length=0.2, width=0.1), 64, 64)
  parts = [ndimage.label(h, np.ones((3, 3)))[1] for h in hole]  # a stroke may leave the image and come back
  assert np.mean(np.array(parts) == 1) > 0.7
  assert hole.mean() > 1.3 * holes(Strokes(count=1, pieces=1, length=0.2, width=0.1), 64, 64).mean()


def test_pixels_miss_with_their_probability():
  assert abs(holes(Pixels(0.3), 28, 20).mean() - 0.3) < 0.01
  shares = holes(Pixels((0.0, 1.0)), 28, 20).mean(axis=(1, 2))
  assert shares.min() < 0.05 and shares.max() > 0.95


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: Box(14, 14).shape((8, 8, 1)), "a box of 14x14 does not fit in images of 8x8"),
    (lambda: Box(4, 4, "left"), 'place="left" is not one of centre, random'),
    (lambda: Pixels(1.5), "share=1.5 must be in"),
    (lambda: Strokes(count=0), "count=0 and pieces=4 must be 1 or more"),
  ],
)
def test_a_wrong_hole_is_refused(make, message):
  with pytest.raises(ConfigError, match=message):
    make()
