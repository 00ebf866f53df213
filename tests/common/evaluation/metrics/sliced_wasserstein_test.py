"""The sliced Wasserstein distance against scipy's transport on a line, an optimal assignment, and closed forms."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from common.errors import ConfigError
from common.evaluation.metrics import sliced_wasserstein
from common.evaluation.metrics.jackknife import group_ids
from common.evaluation.metrics.score import SampleSet
from common.evaluation.metrics.sliced_wasserstein import (
  SlicedWasserstein,
  quantile_coupling,
  sorted_squared_wasserstein,
  unit_directions,
)

RNG = np.random.default_rng(0)


def samples(features):
  return SampleSet(np.zeros((len(features), 1, 1, 1), np.uint8), np.asarray(features, np.float32))


def score(real, fake, seed=0, **settings):
  return SlicedWasserstein(**settings)(samples(real), samples(fake), seed)["sliced_wasserstein"]


@pytest.mark.parametrize(("n", "m"), [(7, 7), (6, 9), (5, 8), (1, 4), (12, 1)])
def test_the_transport_on_a_line_is_the_best_assignment(n, m):
  """Each point is split into equal parts until both sides have as many; no pairing of those is cheaper."""
  x, y = np.sort(RNG.normal(size=n)), np.sort(3.0 * RNG.normal(size=m))
  many = np.lcm(n, m)
  cost = (np.repeat(x, many // n)[:, None] - np.repeat(y, many // m)) ** 2
  best = cost[linear_sum_assignment(cost)].sum() / many
  np.testing.assert_allclose(sorted_squared_wasserstein(x[None], y[None])[0], best, rtol=1e-12)


def test_the_coupling_gives_each_point_its_weight():
  rows, columns, weights = quantile_coupling(9001, 10000)
  np.testing.assert_allclose(np.bincount(rows, weights=weights), np.full(9001, 1 / 9001), rtol=1e-10)
  np.testing.assert_allclose(np.bincount(columns, weights=weights), np.full(10000, 1 / 10000), rtol=1e-10)
  assert np.all(weights > 0)


def test_directions_are_uniform_and_do_not_depend_on_their_number():
  directions = unit_directions(4000, 3)
  np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, rtol=1e-12)
  np.testing.assert_allclose(directions.T @ directions / 4000, np.eye(3) / 3, atol=0.02)
  np.testing.assert_array_equal(unit_directions(10, 3), directions[:10])


@pytest.mark.parametrize("unequal", [0, 13])
@pytest.mark.parametrize("block", [sliced_wasserstein.BLOCK, 1000])
def test_equals_a_loop_over_directions(monkeypatch, unequal, block):
  monkeypatch.setattr(sliced_wasserstein, "BLOCK", block)
  x, y = RNG.normal(size=(60, 5)) + 1e5, 2.0 * RNG.normal(size=(60 + unequal, 5)) + 1e5 + 1.0
  x, y = x.astype(np.float32).astype(float), y.astype(np.float32).astype(float)
  values = [sorted_squared_wasserstein(np.sort(x @ d)[None], np.sort(y @ d)[None])[0] for d in unit_directions(20, 5)]
  np.testing.assert_allclose(score(x, y, directions=20).value, np.mean(values), rtol=1e-5)


def test_a_shift_by_mu_is_mu_squared_over_d():
  x, shift = RNG.normal(size=(500, 6)), np.array([3.0, 0.0, -1.0, 0.0, 0.0, 2.0])
  found = score(x, x + shift, directions=4096)
  along = unit_directions(4096, 6) @ shift
  np.testing.assert_allclose(found.value, np.mean(along**2), rtol=1e-5)
  np.testing.assert_allclose(found.value, shift @ shift / 6, rtol=0.05)


def test_gaussians_are_apart_by_mean_and_deviation():
  """W2^2 of N(m, s^2 I) and N(0, I) on a line: (m.d)^2 + (s - 1)^2."""
  found = score(RNG.normal(size=(8000, 4)), 2.0 * RNG.normal(size=(6000, 4)) + [2.0, 0, 0, 0], directions=256)
  expected = np.mean((2.0 * unit_directions(256, 4)[:, 0]) ** 2) + 1.0
  assert abs(found.value - expected) < 4 * found.standard_error
  assert found.standard_error < 0.1


def test_the_error_is_that_of_repeated_draws():
  found = [score(RNG.normal(size=(200, 3)), RNG.normal(size=(150, 3)) + 1.0, directions=16) for _ in range(150)]
  spread = np.std([each.value for each in found])
  np.testing.assert_allclose(np.sqrt(np.mean([each.standard_error**2 for each in found])), spread, rtol=0.25)


def test_equal_sets_are_at_zero_and_order_does_not_matter():
  x, y = RNG.normal(size=(50, 3)), RNG.normal(size=(70, 3))
  assert score(x, x[::-1]).value == 0.0
  np.testing.assert_allclose(score(x, y).value, score(y, x).value, rtol=1e-5)
  assert score(x, y, seed=3) == score(x, y, seed=3)
  assert score(x, y, seed=3).value == score(x, y, seed=4).value


def test_the_error_is_that_of_groups_left_out():
  x, y = RNG.normal(size=(21, 2)), RNG.normal(size=(34, 2)) + 1.0
  ids = group_ids([len(x), len(y)], 4, 5)
  without = [score(x[ids[0] != g], y[ids[1] != g], directions=8, groups=4).value for g in range(4)]
  expected = np.sqrt(3 / 4 * np.sum((without - np.mean(without)) ** 2))
  np.testing.assert_allclose(score(x, y, 5, directions=8, groups=4).standard_error, expected, rtol=1e-4)


def test_what_cannot_be_compared_is_an_error():
  x = RNG.normal(size=(20, 3))
  with pytest.raises(ValueError, match="features of 3 and 2 numbers"):
    score(x, x[:, :2])
  with pytest.raises(ValueError, match="20 real and 9 generated features are fewer than groups=10"):
    score(x, x[:9])
  with pytest.raises(ValueError, match="1 of 20 generated features are not finite"):
    score(x, np.where(np.arange(20)[:, None] == 3, np.nan, x))
  with pytest.raises(ConfigError, match="directions=0"):
    SlicedWasserstein(directions=0)
  with pytest.raises(ConfigError, match="groups=1"):
    SlicedWasserstein(groups=1)
