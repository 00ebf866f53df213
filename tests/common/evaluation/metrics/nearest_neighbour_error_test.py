"""The label error and the two-sample test of the nearest neighbour against brute force and planted sets."""

import numpy as np
import pytest

from common.evaluation.metrics.nearest_neighbour_error import (
  NearestNeighbourError,
  NearestNeighbourTest,
  clustered_error,
  neighbour_clusters,
)
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


def accuracies(real, fake, seed=0):
  found = NearestNeighbourTest()(samples(real), samples(fake), seed)
  return [found[f"nearest_neighbour_accuracy{side}"] for side in ("", "_real", "_fake")]


def test_the_accuracy_is_that_of_a_double_loop():
  real, fake = RNG.normal(size=(80, 3)).astype(np.float32), 1.3 * RNG.normal(size=(80, 3)).astype(np.float32)
  neighbours = brute_force(*[np.concatenate([real, fake])] * 2, itself=True)
  correct = (neighbours >= 80) == (np.arange(160) >= 80)
  found = accuracies(real, fake)
  assert [each.value for each in found] == [correct.mean(), correct[:80].mean(), correct[80:].mean()]


def test_one_distribution_is_at_a_half_within_the_error_of_repeated_draws():
  rng = np.random.default_rng(5)
  found = [accuracies(rng.normal(size=(100, 2)), rng.normal(size=(100, 2)), i) for i in range(250)]
  for side in range(3):
    values = np.array([each[side].value for each in found])
    error = np.sqrt(np.mean(np.square([each[side].standard_error for each in found])))
    # Each picture has 99 of its kind and 100 of the other to be nearest.
    np.testing.assert_allclose(values.mean(), 99 / 199, atol=4 * values.std() / np.sqrt(250))
    if side:
      assert 0.95 * values.std() < error < 1.4 * values.std()
    else:  # that of independent pictures is 22 % too small
      np.testing.assert_allclose(error, values.std(), rtol=0.12)


def test_planted_sets():
  real = RNG.normal(size=(60, 4))
  apart = accuracies(real, real + 100.0)
  assert [each.value for each in apart] == [1.0, 1.0, 1.0]
  copies = accuracies(real, real)
  assert [each.value for each in copies] == [0.0, 0.0, 0.0]
  crowded = accuracies(real, np.repeat(real[:10] + 0.02, 6, axis=0) + 1e-3 * RNG.normal(size=(60, 4)))
  assert crowded[2].value == 1.0 and crowded[1].value <= 50 / 60


def test_ties_favour_neither_side():
  """All pictures are one: the neighbour is whichever comes first, and that is of either half by chance."""
  first = {accuracies(np.zeros((4, 2)), np.zeros((4, 2)), seed)[1].value > 0.5 for seed in range(20)}
  assert first == {True, False}


def test_of_unequal_sets_equal_numbers_are_taken():
  real, fake = RNG.normal(size=(200, 3)), RNG.normal(size=(50, 3))
  found = accuracies(real, fake)
  assert "50 real and 50 generated" in found[0].method
  assert 0.25 < found[0].value < 0.75 and found[0].value == (found[1].value + found[2].value) / 2
  assert [each.value for each in accuracies(real, fake + 100.0)] == [1.0, 1.0, 1.0]
  assert [each.value for each in accuracies(fake + 100.0, real)] == [1.0, 1.0, 1.0]


def test_clusters_are_the_connected_parts():
  neighbours = brute_force(*[RNG.normal(size=(40, 2))] * 2, itself=True)
  reachable = np.eye(40, dtype=bool)
  reachable[np.arange(40), neighbours] = reachable[neighbours, np.arange(40)] = True
  for _ in range(40):
    reachable = (reachable.astype(int) @ reachable) > 0
  clusters = neighbour_clusters(neighbours)
  np.testing.assert_array_equal(clusters[:, None] == clusters, reachable)


def test_the_error_of_clusters():
  """Copies of each value in one cluster leave the error of the mean as it was; apart they would shrink it."""
  values = RNG.normal(size=30)
  alone = clustered_error(values, np.arange(30))
  np.testing.assert_allclose(alone, np.std(values) / np.sqrt(30), rtol=1e-12)
  np.testing.assert_allclose(clustered_error(np.repeat(values, 3), np.repeat(np.arange(30), 3)), alone, rtol=1e-12)


def test_too_few_or_other_features_are_an_error():
  with pytest.raises(ValueError, match="1 real and 4 generated"):
    accuracies(np.eye(4)[:1], np.eye(4))
  with pytest.raises(ValueError, match="not of one extractor"):
    accuracies(np.eye(4), np.eye(3))
  with pytest.raises(ValueError, match="not finite"):
    accuracies(np.eye(4), np.eye(4) * np.nan)
