"""The Frechet distance against scipy's square root, closed forms, and its own symmetries."""

import dataclasses

import numpy as np
import pytest
from scipy import linalg

from common.evaluation.metrics.frechet import (
  FrechetDistance,
  Gaussian,
  Moments,
  frechet_distance,
  torch_fidelity_frechet,
)
from common.evaluation.metrics.score import SampleSet
from tests.common.evaluation.metrics import torch_fidelity


def features(count, dim, seed=0, scale=1.0):
  rng = np.random.default_rng(seed)
  mixing = rng.normal(size=(dim, dim)) / np.sqrt(dim)
  return (scale * rng.normal(size=(count, dim)) @ mixing + rng.normal(size=dim)).astype(np.float32)


def fit(rows):
  return Moments.of(rows).gaussian()


def samples(rows):
  return SampleSet(images=np.zeros((len(rows), 1, 1, 1), np.uint8), features=rows)


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
  np.testing.assert_allclose(frechet_distance(fit(rows_a), fit(rows_b)), expected, rtol=1e-12)


@pytest.mark.parametrize(("few", "many"), [(20, 30), (20, 64), (63, 200)])
def test_kept_features_and_roots_of_covariances_agree(few, many):
  """Either side, both or none with fewer features than dimensions; to what a root of a singular matrix is good for."""
  a, b = fit(features(few, 64, seed=1)), fit(features(many, 64, seed=2))
  assert a.factor is not None and (b.factor is None) == (many >= 64)
  by_roots = frechet_distance(*(dataclasses.replace(g, factor=None) for g in (a, b)))
  np.testing.assert_allclose(frechet_distance(a, b), by_roots, rtol=1e-6)
  np.testing.assert_allclose(a.factor.T @ a.factor, a.covariance, atol=1e-12)
  assert frechet_distance(a, a) <= 1e-12 * np.trace(a.covariance)


def test_the_known_answer_of_compare_gan():
  """Means (1.5, 1) and (5.5, 9), variances 25/99 and 1225/99 of the first number: 80 + 900/99."""
  real, fake = np.ones((100, 2)), np.full((100, 2), 9.0)
  real[:50, 0], fake[50:, 0] = 2.0, 2.0
  np.testing.assert_allclose(frechet_distance(fit(real), fit(fake)), 89.0909, atol=5e-5)
  np.testing.assert_allclose(torch_fidelity_frechet(real, fake), 89.0909, atol=5e-5)
  for mode in ("exact", "torch_fidelity"):
    score = FrechetDistance(mode)(samples(real), samples(fake), 0)["frechet"]
    np.testing.assert_allclose(score.value, 80 + 900 / 99, rtol=1e-12)


@pytest.mark.parametrize("case", torch_fidelity.CASES, ids=lambda case: case.name)
def test_equals_torch_fidelity(case):
  """To 1e-6 of the traces in both modes; its own arithmetic gives its digits (eigenvalues differ between LAPACKs)."""
  real, fake = case.features()
  traces = sum(np.trace(np.cov(rows, rowvar=False)) for rows in (real, fake))
  for mode, tolerance in (("exact", 1e-6), ("torch_fidelity", 1e-8)):
    score = FrechetDistance(mode)(samples(real), samples(fake), 0)["frechet"]
    assert abs(score.value - case.frechet) <= tolerance * traces


def test_float32_means_are_a_difference():
  """Far from 0 the two modes part, as float32 sums do from the truth."""
  rows = [features(5000, 4, seed) + np.float32(1e4) for seed in (1, 2)]
  exact, theirs = (
    FrechetDistance(mode)(samples(rows[0]), samples(rows[1]), 0)["frechet"].value
    for mode in ("exact", "torch_fidelity")
  )
  np.testing.assert_allclose(exact, frechet_distance(fit(rows[0]), fit(rows[1])), rtol=1e-9)
  assert abs(exact - theirs) > 1e-6 * exact


def test_the_error_is_the_spread_over_redraws():
  rng = np.random.default_rng(0)
  found = [
    FrechetDistance()(samples(rng.normal(size=(200, 4))), samples(1.2 * rng.normal(size=(300, 4)) + 0.4), i)["frechet"]
    for i in range(150)
  ]
  spread = np.std([score.value for score in found], ddof=1)
  assert 0.85 < np.sqrt(np.mean([score.standard_error**2 for score in found])) / spread < 1.3


def test_fewer_samples_are_farther_apart():
  """Two samples of N(0, I): |m1 - m2|^2 is 2 D / n on average, and tr (C1 - C2)^2 / 4 is (D^2 + D) / (2 n)."""
  rng = np.random.default_rng(0)

  def average(count):
    pairs = [[fit(rng.normal(size=(count, 8))) for _ in range(2)] for _ in range(40)]
    return np.mean([frechet_distance(*pair) for pair in pairs])

  biases = [average(count) for count in (100, 400, 1600)]
  np.testing.assert_allclose(biases, [(2 * 8 + 72 / 2) / count for count in (100, 400, 1600)], rtol=0.15)


def test_the_same_score_for_the_same_arguments():
  real, fake = samples(features(50, 4, seed=1)), samples(features(60, 4, seed=2))
  assert FrechetDistance()(real, fake, 3) == FrechetDistance()(real, fake, 3)
  score = FrechetDistance()(real, fake, 3)["frechet"]
  assert score.method == "jackknife over 10 groups of each set"
  np.testing.assert_allclose(score.value, frechet_distance(fit(real.features), fit(fake.features)), rtol=1e-10)


def test_merged_moments_are_those_of_all():
  rows = features(100, 8)
  parts = [Moments.of(rows[start : start + 7]) for start in range(0, 100, 7)]
  merged, whole = Moments.merged(parts).gaussian(), fit(rows)
  np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
  np.testing.assert_allclose(merged.covariance, whole.covariance, rtol=1e-10)
  assert merged.count == 100 and merged.factor is None
  few = Moments.merged([Moments.of(rows[:3]), Moments.of(rows[3:7])]).gaussian()
  np.testing.assert_allclose(few.factor, fit(rows[:7]).factor, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
  ("real", "fake", "message"),
  [
    (np.zeros((9, 2)), np.zeros((20, 2)), "9 real samples are too few: with these settings it takes 10 or more"),
    (np.zeros((20, 2)), np.zeros((9, 2)), "9 generated samples"),
    (np.zeros((20, 2)), np.full((20, 2), np.nan), "20 of 20 generated features are not finite"),
    (np.zeros((20, 2)), np.zeros((20, 3)), "features of 2 and 3 numbers"),
  ],
)
def test_samples_that_have_no_distance(real, fake, message):
  with pytest.raises(ValueError, match=message):
    FrechetDistance()(samples(real), samples(fake), 0)


def test_settings_that_make_no_sense():
  with pytest.raises(ValueError, match='mode="fid" is not one of exact, torch_fidelity'):
    FrechetDistance("fid")
  with pytest.raises(ValueError, match="groups=1"):
    FrechetDistance(groups=1)


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


def test_the_moments_are_numpys():
  """Also far from 0, where a difference of raw moments loses its digits."""
  rows = features(103, 5) + np.float32(3000.0)
  parts = [Moments.of(rows[start : start + 20]) for start in range(0, 103, 20)]
  for found in (fit(rows), Moments.merged(parts).gaussian()):
    assert found.count == 103
    np.testing.assert_allclose(found.mean, rows.astype(np.float64).mean(0), rtol=1e-13)
    np.testing.assert_allclose(found.covariance, np.cov(rows.astype(np.float64), rowvar=False), rtol=1e-9)


def test_what_has_no_moments_is_an_error():
  with pytest.raises(ValueError, match="1 features have no covariance"):
    fit(np.zeros((1, 2)))
  with pytest.raises(ValueError, match="not of one extractor"):
    frechet_distance(fit(features(10, 2)), fit(features(10, 3)))
