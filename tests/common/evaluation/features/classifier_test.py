import jax
import numpy as np

from common import random
from common.evaluation.features import classifier
from common.evaluation.features.classifier import WhitenedNet

IMAGES = np.random.RandomState(0).rand(60, 6, 7, 3).astype(np.float32)


def keys(seed=0, rows=range(60)):
  return random.row_keys(jax.random.key(seed), np.asarray(rows))


def test_the_first_filters_of_a_whitened_network_are_an_orthonormal_basis_of_cosines():
  kernel = np.asarray(classifier._cosines(3), np.float64)
  flat = kernel.reshape(12, 12)
  np.testing.assert_allclose(flat.T @ flat, np.eye(12), atol=1e-6)
  np.testing.assert_allclose(kernel[..., 0], np.full((2, 2, 3), 12**-0.5), rtol=1e-6)
  np.testing.assert_allclose(kernel[..., 2], np.ones((2, 2, 1)) * [1 / 24**0.5, -2 / 24**0.5, 1 / 24**0.5], rtol=1e-5)
  np.testing.assert_allclose(classifier._cosines(1)[..., 0, 1], [[0.5, -0.5], [0.5, -0.5]], rtol=1e-6)


def test_training_images_move_by_whole_pixels_and_are_reflected_at_their_sides():
  padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
  moved, starts = np.asarray(classifier._translated(IMAGES, keys(), 2)), set()
  for image, whole in zip(moved, padded, strict=True):
    found = [(y, x) for y in range(5) for x in range(5) if (whole[y : y + 6, x : x + 7] == image).all()]
    assert len(found) == 1
    starts.add(found[0])
  assert {y for y, _ in starts} == {x for _, x in starts} == set(range(5)) and len(starts) > 15
  last = classifier._translated(IMAGES[50:], keys(rows=range(50, 60)), 2)
  np.testing.assert_array_equal(last, moved[50:])  # a row's move depends on its own key only


def test_a_whitened_network_moves_images_in_training_only_and_sees_both_mirror_images_in_evaluation():
  network = WhitenedNet(num_classes=5, channels=(4, 6))
  variables = jax.jit(lambda: network.init(jax.random.key(0), IMAGES[:8], train=False, keys=keys(rows=range(8))))()
  apply = jax.jit(network.apply, static_argnames=("train", "mutable"))
  (logits, features), (same, _) = (
    apply(variables, IMAGES[:8], train=False, keys=keys(seed, range(8))) for seed in (0, 1)
  )
  assert logits.shape == (8, 5) and features.shape == (8, 6)
  params = variables["params"]  # the whitening layer has none, and gives both signs of its 12 values
  assert "BatchNorm_0" not in params and params["Conv_0"]["kernel"].shape == (3, 3, 24, 4)
  np.testing.assert_array_equal(logits, same)
  mirrored = apply(variables, IMAGES[:8, :, ::-1], train=False, keys=keys(rows=range(8)))[1]
  np.testing.assert_allclose(features, mirrored, rtol=1e-5, atol=1e-6)
  a, b = (
    apply(variables, IMAGES[:8], train=True, keys=keys(seed, range(8)), mutable="batch_stats")[0][0] for seed in (0, 1)
  )
  assert np.abs(a - b).max() > 0.01
