"""Intervals: how often they hold the truth, and that they stay where the figure can be."""

import math

import numpy as np
import pytest
from scipy import stats

from common.evaluation.metrics.labels import share, share_with_error
from common.evaluation.metrics.score import Score


def test_the_interval_of_a_share_is_wilsons():
  hits = np.arange(100) < 15
  np.testing.assert_allclose(share(hits, "").interval, stats.binomtest(15, 100).proportion_ci(method="wilson"))
  alike = share_with_error(0.15, math.sqrt(0.15 * 0.85 / 100), "", 100)
  np.testing.assert_allclose(alike.interval, share(hits, "").interval, rtol=1e-12)
  doubled = share_with_error(0.15, 2 * math.sqrt(0.15 * 0.85 / 100), "", 100)
  assert doubled.trials == pytest.approx(25.0)


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_intervals_of_shares_hold_the_truth_and_stay_in_range(count):
  intervals = np.array([share(np.arange(count) < hits, "").interval for hits in range(count + 1)])
  assert intervals.min() >= 0.0 and intervals.max() <= 1.0
  assert np.all(intervals[:, 1] - intervals[:, 0] > 0.0), "also where all agree"
  truths = np.linspace(0.5 / count, 1.0 - 0.5 / count, 99)
  held = [
    np.sum(stats.binom.pmf(np.arange(count + 1), count, p) * (intervals[:, 0] <= p) * (p <= intervals[:, 1]))
    for p in truths
  ]
  assert 0.94 < np.mean(held) < 0.97 and min(held) > 0.6


def test_all_or_none_of_dependent_pictures_is_no_certainty():
  found = share_with_error(1.0, 0.0, "", 50)
  assert found.standard_error > 0.0 and 0.9 < found.interval[0] < 0.95 and found.interval[1] > 0.999999


def test_a_few_groups_widen_the_interval_as_student_has_it():
  score = Score(5.0, 2.0, "", freedom=9)
  np.testing.assert_allclose(score.interval, 5.0 + 2.0 * np.array(stats.t.interval(0.95, 9)), rtol=1e-9)
  np.testing.assert_allclose(Score(5.0, 2.0, "").interval, 5.0 + 2.0 * np.array([-1.959964, 1.959964]), rtol=1e-6)
  assert Score(0.5, 2.0, "", range=(0.0, 3.0)).interval == (0.0, 3.0)
