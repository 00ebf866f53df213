"""Means with their errors, against scipy and by hand."""

import numpy as np
import pytest
from scipy import stats

from common.evaluation.metrics.estimate import Estimate, estimate, paired_difference

VALUES = np.random.default_rng(0).normal(loc=-230.0, scale=40.0, size=500)


def test_the_standard_error_is_scipys():
  found = estimate(VALUES.astype(np.float32))
  np.testing.assert_allclose(found.mean, VALUES.mean(), rtol=1e-6)
  np.testing.assert_allclose(found.standard_error, stats.sem(VALUES), rtol=1e-5)
  assert found.count == 500


def test_a_paired_difference_by_hand():
  assert paired_difference(np.array([3.0, 5.0]), np.array([1.0, 1.0])) == Estimate(3.0, 1.0, 2)


def test_pairing_removes_what_the_images_have_in_common():
  better = VALUES + np.random.default_rng(1).normal(loc=1.0, scale=2.0, size=500)
  found = paired_difference(better, VALUES)
  assert found.standard_error < 0.1 * estimate(VALUES).standard_error
  assert 0.5 < found.mean < 1.5 and found.mean > 4 * found.standard_error
  assert paired_difference(VALUES, better).mean == -found.mean


@pytest.mark.parametrize(
  ("values", "message"),
  [
    (np.zeros(1), "a standard error needs"),
    (np.zeros((2, 2)), r"shape \(2, 2\)"),
    (np.array([0.0, np.nan, np.inf]), "2 of 3 values are not finite"),
  ],
)
def test_what_has_no_standard_error_is_an_error(values, message):
  with pytest.raises(ValueError, match=message):
    estimate(values)


def test_values_of_other_images_are_not_paired():
  with pytest.raises(ValueError, match="not of the same images"):
    paired_difference(VALUES, VALUES[:-1])
