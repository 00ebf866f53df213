"""The label error of the nearest neighbour against brute force and planted sets."""

import numpy as np
import pytest

from common.evaluation.metrics.nearest_neighbour_error import NearestNeighbourError
from common.evaluation.metrics.score import SampleSet

RNG = np.random.default_rng(0)


def samples(features, labels=None):
  labels = None if labels is None else np.asarray(labels, np.int32)
  return SampleSet(np.zeros((len(features), 1, 1, 1), np.uint8), np.asarray(features, np.float32), labels=labels)


def classes(count, seed, spread=1.0):
  """Ten classes about points of a circle."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(10, size=count)
  angle = 2 * np.pi * labels / 10
  return 3 * np.stack([np.cos(angle), np.sin(angle)], 1) + spread * rng.normal(size=(count, 2)), labels


def brute_force(queries, points, itself=False):
  distances = np.linalg.norm(queries[:, None] - points, axis=2)
  if itself:
    np.fill_diagonal(distances, np.inf)
  return np.argmin(distances, axis=1)


def test_the_label_error_is_that_of_a_double_loop():
  (real, truth), (fake, labels) = classes(150, 1), classes(90, 2)
  found = NearestNeighbourError()(samples(real, truth), samples(fake, labels), 0)
  real, fake = real.astype(np.float32), fake.astype(np.float32)
  expected = np.mean(labels[brute_force(real, fake)] != truth)
  floor = np.mean(truth[brute_force(real, real, itself=True)] != truth)
  assert 0.1 < floor < 0.9
  assert found["nearest_neighbour_error"].value == expected
  assert found["nearest_neighbour_error_real"].value == floor
  np.testing.assert_allclose(
    found["nearest_neighbour_error"].standard_error, np.sqrt(expected * (1 - expected) / 150), rtol=0.05
  )
  assert "150 real pictures, by 90 generated" in found["nearest_neighbour_error"].method


@pytest.mark.parametrize("wrong", [0, 3, 10])
def test_wrong_classes_are_wrong_pictures(wrong):
  """Generated pictures of so many classes carry the next one's label; real ones have 20 of each."""
  truth = np.repeat(np.arange(10), 20)
  real = np.eye(10)[truth] * 50 + RNG.normal(size=(200, 10))
  labels = np.arange(10)
  found = NearestNeighbourError()(
    samples(real, truth), samples(np.eye(10) * 50, np.where(labels < wrong, (labels + 1) % 10, labels)), 0
  )
  assert found["nearest_neighbour_error"].value == wrong / 10
  assert found["nearest_neighbour_error_real"].value == 0.0
  assert found["nearest_neighbour_error"].standard_error > 0


def test_without_labels_there_is_no_label_error():
  with pytest.raises(ValueError, match="the generated pictures have no labels"):
    NearestNeighbourError()(samples(np.eye(4), range(4)), samples(np.eye(4)), 0)
  with pytest.raises(ValueError, match=r"labels of shape \(3,\) are not one for each of 4 real"):
    NearestNeighbourError()(samples(np.eye(4), range(3)), samples(np.eye(4), range(4)), 0)
