"""Images of different sizes on one canvas are resized as each alone."""

import jax.numpy as jnp
import numpy as np
import pytest

from common.data.degradations import canvas

X = np.random.RandomState(0).rand(4, 12, 12, 3).astype(np.float32)
BEFORE = jnp.array([[12, 12], [7, 9], [10, 5], [3, 3]])
AFTER = jnp.array([[5, 6], [14, 18], [10, 5], [1, 2]])
MODES = ("area", "bilinear", "bicubic")


@pytest.mark.parametrize("mode", range(3), ids=MODES)
def test_it_is_what_torch_interpolates(mode):
  torch = pytest.importorskip("torch", reason="the extra [parity] is not installed")
  ours = canvas.resized(X, BEFORE, AFTER, BEFORE / AFTER, jnp.full(4, mode), 16, 20)
  for x, image, before, after in zip(X, np.asarray(ours), np.asarray(BEFORE), np.asarray(AFTER), strict=True):
    alone = torch.from_numpy(x[: before[0], : before[1]]).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(alone, size=tuple(after.tolist()), mode=MODES[mode])[0].permute(1, 2, 0)
    np.testing.assert_allclose(image[: after[0], : after[1]], expected, atol=2e-6)


def test_a_factor_sets_the_distance_of_pixels_and_the_size_is_rounded_down():
  torch = pytest.importorskip("torch", reason="the extra [parity] is not installed")
  factor, alone = 0.73, torch.from_numpy(X[:1, :11, :9]).permute(0, 3, 1, 2)
  size = jnp.array([[8, 6]])
  for mode in range(3):
    ours = canvas.resized(X[:1], jnp.array([[11, 9]]), size, jnp.full((1, 2), 1 / factor), jnp.array([mode]), 8, 6)
    expected = torch.nn.functional.interpolate(alone, scale_factor=factor, mode=MODES[mode])
    np.testing.assert_allclose(ours, expected.permute(0, 2, 3, 1), atol=2e-6)


def test_what_lies_beyond_an_image_is_not_seen_and_a_flat_one_stays_flat():
  """Twelve rows: each mode once for each of the sizes."""
  before, after = jnp.tile(BEFORE, (3, 1)), jnp.tile(AFTER, (3, 1))
  inside = (np.arange(12)[:, None] < before[:, :1, None]) & (np.arange(12) < before[:, 1:, None])
  flat = np.where(np.asarray(inside)[..., None], np.float32(0.3), 100.0)
  done = canvas.resized(flat, before, after, before / after, jnp.repeat(jnp.arange(3), 4), 16, 20)
  np.testing.assert_allclose(done, 0.3, atol=1e-6)


@pytest.mark.parametrize("mode", ["edge", "reflect"])
def test_an_image_is_continued_as_numpy_pads(mode):
  done = np.asarray(canvas.continued(X, BEFORE, 5, mode))
  assert done.shape == (4, 22, 22, 3)
  for x, image, (height, width) in zip(X, done, np.asarray(BEFORE), strict=True):
    alone = np.pad(x[:height, :width], ((5, 17 - height), (5, 17 - width), (0, 0)), mode=mode)
    np.testing.assert_array_equal(image, alone)
  one = canvas.continued(X[:1], jnp.array([[1, 1]]), 2, mode)
  assert (np.asarray(one) == X[0, 0, 0]).all()
