"""Density and coverage on planted sets, against a double loop, and at their known averages."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from common.evaluation.metrics.density_coverage import (
  DensityCoverage,
  balls_around_each,
  coverage,
  density,
)
from common.evaluation.metrics.precision_recall import on_manifold
from common.evaluation.metrics.score import SampleSet

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(size=(120, 4)), 1.3 * RNG.normal(size=(120, 4)) + 0.3  # one shape: few compilations


def samples(rows):
  return SampleSet(images=np.zeros((len(rows), 1, 1, 1), np.uint8), features=rows)


def scores(real, fake, seed=0, **settings):
  return DensityCoverage(**settings)(samples(real), samples(fake), seed)


def values(real, fake, k=5):
  return density(real, fake, k)["density"][0], coverage(real, fake, k, 0)[0]


@pytest.mark.parametrize("k", [1, 5])
def test_equals_a_double_loop(k):
  radii = np.sort(cdist(REAL, REAL), axis=1)[:, k]
  inside = cdist(REAL, FAKE) < radii[:, None]
  np.testing.assert_allclose(balls_around_each(REAL, FAKE, k), inside.sum(axis=0) / k)
  assert coverage(REAL, FAKE, k, 0)[0] == np.mean(inside.any(axis=1))
  assert 0 < inside.any(axis=1).mean() < 1


def test_identical_and_far_sets():
  """A ball holds its centre and k - 1 others; the k-th is on its surface, and so out."""
  np.testing.assert_allclose(values(REAL, REAL), (1.0, 1.0), rtol=1e-12)
  assert values(REAL, REAL + 100.0) == (0.0, 0.0)


def test_the_surface_is_outside_the_ball():
  """On a line of steps of 1, the balls of k = 1 have radius 1, and a point one step beyond the end is in none."""
  line = np.arange(5.0)[:, None]
  for point, inside in ((5.0, 0), (4.999, 1)):
    fake = np.array([[point], [100.0]])
    assert balls_around_each(line, fake, 1)[0] == inside and coverage(line, fake, 1, 0)[0] == inside / 5


@pytest.mark.parametrize(("num_real", "num_fake"), [(60, 60), (40, 90)])
def test_samples_of_one_distribution_have_known_averages(num_real, num_fake):
  """Of any continuous distribution: density 1, and the coverage of Naeem et al. 2020, Section 4."""
  steps = np.arange(1, 6)
  expected = 1.0 - np.prod((num_real - steps) / (num_real + num_fake - steps))
  rng = np.random.default_rng(1)
  found = [values(rng.normal(size=(num_real, 3)), rng.normal(size=(num_fake, 3))) for _ in range(150)]
  means, errors = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(len(found))
  assert np.all(np.abs(means - [1.0, expected]) < 4 * errors)
  assert np.all(errors < 0.02)


def test_an_outlier_among_the_real_ones_does_not_help():
  """Its ball reaches over the fakes, which precision takes for real; density hardly does (Naeem et al. 2020)."""
  fake = RNG.normal(size=(100, 2)) + 20.0
  real = np.append(RNG.normal(size=(99, 2)), [[25.0, 25.0]], axis=0)
  assert np.mean(on_manifold(fake, real, 5)) == 1.0
  found = values(real, fake)
  assert found[0] <= 0.21 and found[1] == 0.01


def test_outliers_among_the_fakes_do_not_help():
  """Their balls make the generated manifold large, which raises recall; coverage is of balls about real points."""
  real = RNG.normal(size=(100, 2)) * [1, 5]
  fake = np.append(RNG.normal(size=(90, 2)) * 0.01, 40.0 * RNG.normal(size=(10, 2)), axis=0)
  assert np.mean(on_manifold(real, fake, 5)) == 1.0
  assert values(real, fake)[1] < 0.2


def test_dropped_modes_lower_coverage_in_proportion():
  modes = 50.0 * np.arange(4)[:, None] * np.ones(2)
  real = np.repeat(modes, 30, axis=0) + RNG.normal(size=(120, 2))
  for kept in (1, 2, 3):
    fake = modes[np.arange(120) % kept] + RNG.normal(size=(120, 2))
    found = values(real, fake)
    assert abs(found[1] - kept / 4) < 0.02 and found[0] > 0.8


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.7, 0.3)])
def test_the_errors_are_the_spread_over_redraws(scale, shift):
  rng = np.random.default_rng(1)
  found = [scores(rng.normal(size=(200, 4)), scale * rng.normal(size=(200, 4)) + shift, seed=i) for i in range(30)]
  for name in ("density", "coverage"):
    spread = np.std([score[name].value for score in found], ddof=1)
    assert 0.75 < np.sqrt(np.mean([score[name].standard_error ** 2 for score in found])) / spread < 1.6


def test_the_same_scores_for_the_same_arguments():
  first = scores(REAL, FAKE, seed=3)
  assert first == scores(REAL, FAKE, seed=3)
  assert (first["density"].value, first["coverage"].value) == values(REAL, FAKE)


def test_what_has_no_scores():
  with pytest.raises(ValueError, match="59 real samples are too few: with these settings it takes 60 or more"):
    scores(REAL[:59], FAKE)
  with pytest.raises(ValueError, match="1 of 120 generated features are not finite"):
    scores(REAL, np.where(np.arange(120)[:, None] == 0, np.nan, FAKE))
  with pytest.raises(ValueError, match="k=0"):
    DensityCoverage(k=0)
