"""Restoration without a model: what is known in closed form comes back, and what was added is less after it."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.data.degradations import build_degradation
from common.evaluation.classical import classically_restored, noise_level

RNG = np.random.default_rng(0)
Y, X = np.mgrid[:48, :48] / 47.0
SMOOTH = np.stack([0.5 + 0.3 * np.sin(5 * X) * np.cos(4 * Y), 0.2 + 0.6 * X, 0.8 - 0.6 * Y], axis=-1)


def restored(truth, *chain, quantise=False):
  """What was seen of one picture, and {method: the restored one}, [h, w, c] in [0, 1] each; pixels lie in [-1, 1]."""
  pytest.importorskip("skimage")
  keys = jax.random.split(jax.random.key(1), 1)
  seen = np.asarray(build_degradation(chain, quantise)(jnp.asarray(truth[None], jnp.float32), keys))
  reference = types.SimpleNamespace(pixel_range=(-1.0, 1.0), image_shape=truth.shape)
  found = classically_restored(lambda rows: {"seen": 2.0 * seen[rows] - 1.0}, 1, reference, chain)
  return seen[0], {name: pictures.images[0] / 255 for name, pictures in found.items()}


def error(a, b):
  return float(np.sqrt(np.mean((a - b) ** 2)))


def test_the_level_of_noise_is_seen_through_edges():
  noisy = np.where(X[..., None] > 0.5, 0.9, 0.1) + 0.1 * RNG.normal(size=(48, 48, 3))
  assert abs(noise_level(noisy) - 0.1) < 0.01


def test_noise_is_averaged_away():
  seen, found = restored(SMOOTH, {"name": "gaussian_noise", "sigma": 25.0})
  assert list(found) == ["non-local means"]
  assert error(found["non-local means"], SMOOTH) < 0.35 * error(seen, SMOOTH)


def test_a_blur_is_undone_where_its_kernel_is_known():
  board = np.repeat(((np.indices((48, 48)) // 8).sum(axis=0) % 2)[..., None], 3, axis=-1) * 0.6 + 0.2
  for chain in (({"name": "gaussian_blur", "sigma": 1.6},), ({"name": "gaussian_blur", "sigma": (1.6, 1.6)},)):
    seen, found = restored(board, *chain, {"name": "gaussian_noise", "sigma": 2.0})
    assert list(found) == ["Wiener"] and error(found["Wiener"], board) < 0.75 * error(seen, board)


def test_a_plane_is_continued_into_a_hole_and_the_rest_stays():
  plane = 0.1 + 0.5 * X[..., None] + 0.3 * Y[..., None]
  seen, found = restored(plane, {"name": "box", "height": 12, "width": 10})
  assert seen.shape == (48, 48, 2) and list(found) == ["biharmonic"]
  np.testing.assert_allclose(found["biharmonic"], plane, atol=0.51 / 255)


def test_a_chain_without_a_method_has_none():
  assert restored(SMOOTH, {"name": "jpeg", "quality": 10.0})[1] == {}
