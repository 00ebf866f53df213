"""Latents of given images by descent, against the least-squares solution of a linear decoder."""

import jax.numpy as jnp
import numpy as np

from common.evaluation.inversion import invert

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(3, 2 * 2 * 1)).astype(np.float32)


def decode(z):
  return (z @ WEIGHTS).reshape(-1, 2, 2, 1)


def test_a_linear_decoder_is_inverted_by_least_squares():
  images = RNG.normal(size=(5, 2, 2, 1)).astype(np.float32)
  candidates = jnp.asarray(RNG.normal(size=(20, 3)), jnp.float32)
  found = invert(decode, candidates, jnp.asarray(images), steps=2000, learning_rate=0.1)
  exact = np.linalg.lstsq(WEIGHTS.T, images.reshape(5, 4).T, rcond=None)[0].T
  np.testing.assert_allclose(found.z, exact, atol=2e-3)
  np.testing.assert_allclose(found.error, np.mean((decode(found.z) - images) ** 2, axis=(1, 2, 3)), rtol=1e-5)


def test_the_best_latents_on_the_way_are_kept_row_by_row():
  """With a rate far too large nothing improves on the start: the nearest candidate and its error remain."""
  images = decode(jnp.asarray([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
  candidates = jnp.asarray([[1.0, 0.0, 0.0], [5.0, 5.0, 5.0], [0.0, 1.1, 0.0]])
  found = invert(decode, candidates, images, steps=3, learning_rate=100.0)
  np.testing.assert_array_equal(found.z, candidates[jnp.asarray([0, 2])])
  np.testing.assert_allclose(found.error[0], 0.0, atol=1e-6)


def test_a_penalty_gives_ridge_regression():
  images = RNG.normal(size=(5, 2, 2, 1)).astype(np.float32)
  candidates = jnp.asarray(RNG.normal(size=(20, 3)), jnp.float32)
  found = invert(decode, candidates, jnp.asarray(images), steps=2000, learning_rate=0.1, penalty=0.3)
  exact = np.linalg.solve(WEIGHTS @ WEIGHTS.T / 4 + 0.3 * np.eye(3), WEIGHTS @ images.reshape(5, 4).T / 4).T
  np.testing.assert_allclose(found.z, exact, atol=2e-3)
  error = np.mean((decode(found.z) - images) ** 2, axis=(1, 2, 3)) + 0.3 * np.sum(found.z**2, axis=1)
  np.testing.assert_allclose(found.error, error, rtol=1e-5)


def test_the_best_of_several_starts_counts_for_each_image():
  """z^3 - 3 z comes near to 3 at z = -1, where a descent from the nearest candidate stays; it is 3 at 2.10."""
  candidates, images = jnp.asarray([[-1.05], [1.6]]), jnp.asarray([[3.0], [-2.0]])
  settings = {"steps": 500, "learning_rate": 0.05}
  one, two = (invert(lambda z: z**3 - 3 * z, candidates, images, restarts=restarts, **settings) for restarts in (1, 2))
  np.testing.assert_allclose(one.error, [1.0, 0.0], atol=1e-3)
  np.testing.assert_allclose(two.error, [0.0, 0.0], atol=1e-3)
  np.testing.assert_allclose(two.z[0], 2.1038, atol=1e-3)
