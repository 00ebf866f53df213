"""The Frechet distance against scipy's square root, closed forms, and its own symmetries."""

import numpy as np
import pytest
from scipy import linalg

from common.metrics.frechet import Gaussian, Moments, frechet_distance


def features(count, dim, seed=0, scale=1.0):
  rng = np.random.default_rng(seed)
  mixing = rng.normal(size=(dim, dim)) / np.sqrt(dim)
  return (scale * rng.normal(size=(count, dim)) @ mixing + rng.normal(size=dim)).astype(np.float32)


def fit(rows):
  moments = Moments(rows.shape[1])
  moments.add(rows)
  return moments.gaussian()


def gaussian(mean, variances):
  return Gaussian(np.asarray(mean, float), np.diag(np.asarray(variances, float)), 100)


def by_sqrtm(a, b):
  root = linalg.sqrtm(a.covariance @ b.covariance)
  return np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance + b.covariance - 2 * root.real)


@pytest.mark.parametrize(("count", "dim"), [(1000, 3), (200, 64), (65, 64)])
def test_equals_scipys_square_root(count, dim):
  a, b = fit(features(count, dim, seed=1)), fit(features(count + 7, dim, seed=2, scale=1.5))
  np.testing.assert_allclose(frechet_distance(a, b), by_sqrtm(a, b), rtol=1e-6)


def test_equals_the_closed_form_of_diagonal_covariances():
  m1, v1, m2, v2 = [0.0, 1.0, -2.0], [1.0, 4.0, 0.0], [3.0, 1.0, -2.5], [9.0, 1.0, 2.0]
  expected = np.sum(np.subtract(m1, m2) ** 2) + np.sum((np.sqrt(v1) - np.sqrt(v2)) ** 2)
  np.testing.assert_allclose(frechet_distance(gaussian(m1, v1), gaussian(m2, v2)), expected, rtol=1e-12)


def test_fewer_features_than_dimensions():
  """There tr (C1 C2)^(1/2) is the nuclear norm of A1 A2' / n with centred features A, which needs no covariance."""
  rows_a, rows_b = features(20, 64, seed=1).astype(np.float64), features(30, 64, seed=2).astype(np.float64)
  centred_a, centred_b = rows_a - rows_a.mean(0), rows_b - rows_b.mean(0)
  cross = np.linalg.norm(centred_a @ centred_b.T, ord="nuc") / np.sqrt(19 * 29)
  expected = np.sum((rows_a.mean(0) - rows_b.mean(0)) ** 2)
  expected += np.sum(centred_a**2) / 19 + np.sum(centred_b**2) / 29 - 2 * cross
  np.testing.assert_allclose(frechet_distance(fit(rows_a), fit(rows_b)), expected, rtol=1e-6)


@pytest.mark.parametrize(("count", "dim"), [(1000, 16), (10, 64)])
def test_identical_sets_are_at_zero(count, dim):
  a = fit(features(count, dim))
  assert frechet_distance(a, a) <= 1e-9 * np.trace(a.covariance)


def test_symmetric_and_independent_of_the_axes():
  a, b = fit(features(100, 8, seed=1)), fit(features(100, 8, seed=2))
  rotation = linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]

  def turned(g):
    return Gaussian(rotation @ g.mean, rotation @ g.covariance @ rotation.T, g.count)

  np.testing.assert_allclose(frechet_distance(b, a), frechet_distance(a, b), rtol=1e-10)
  np.testing.assert_allclose(frechet_distance(turned(a), turned(b)), frechet_distance(a, b), rtol=1e-10)


def test_batches_add_up_to_numpys_moments():
  """Also far from 0, where a difference of raw moments loses its digits, and with a masked last batch."""
  rows = features(103, 5) + np.float32(3000.0)
  moments = Moments(5)
  for start in range(0, 103, 20):
    batch = rows[start : start + 20]
    padded = np.concatenate([batch, np.full((20 - len(batch), 5), np.nan, np.float32)])
    moments.add(padded, np.arange(20) < len(batch))
  moments.add(rows[:4], np.zeros(4))
  found, exact = moments.gaussian(), rows.astype(np.float64)
  assert found.count == 103
  np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-13)
  np.testing.assert_allclose(found.covariance, np.cov(exact, rowvar=False), rtol=1e-9)


def test_what_has_been_given_out_does_not_change():
  moments = Moments(2)
  moments.add(features(10, 2))
  before = moments.gaussian()
  mean = before.mean.copy()
  moments.add(features(10, 2, seed=1))
  np.testing.assert_array_equal(before.mean, mean)


def test_what_has_no_moments_is_an_error():
  moments = Moments(2)
  with pytest.raises(ValueError, match="0 features have no covariance"):
    moments.gaussian()
  with pytest.raises(ValueError, match=r"features of shape \(4, 3\) are not \[B, 2\]"):
    moments.add(np.zeros((4, 3)))
  with pytest.raises(ValueError, match="1 of 4 features are not finite"):
    moments.add(np.array([[0.0, 0.0], [0.0, np.nan], [1.0, 1.0], [2.0, 2.0]]))
  with pytest.raises(ValueError, match="not of one extractor"):
    frechet_distance(fit(features(10, 2)), fit(features(10, 3)))
