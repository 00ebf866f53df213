"""Precision and recall on planted sets, against a double loop, and as torch-fidelity computes them."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from common.evaluation.metrics.estimate import binomial_error
from common.evaluation.metrics.precision_recall import PrecisionRecall, on_manifold, precision_and_recall
from common.evaluation.metrics.score import SampleSet
from tests.common.evaluation.metrics import torch_fidelity

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(size=(120, 4)), 1.3 * RNG.normal(size=(120, 4)) + 0.3  # one shape: few compilations


def samples(rows):
  return SampleSet(images=np.zeros((len(rows), 1, 1, 1), np.uint8), features=rows)


def scores(real, fake, seed=0, **settings):
  return PrecisionRecall(**settings)(samples(real), samples(fake), seed)


def values(real, fake, k=3):
  found = precision_and_recall(real, fake, k)
  return found["precision"][0], found["recall"][0]


def by_cdist(queries, points, k):
  """The radius is the (k + 1)-th smallest distance with the point's own 0 among them."""
  radii = np.sort(cdist(points, points), axis=1)[:, k]
  return np.any(cdist(queries, points) <= radii, axis=1)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_equals_a_double_loop(k):
  np.testing.assert_array_equal(on_manifold(FAKE, REAL, k), by_cdist(FAKE, REAL, k))
  np.testing.assert_array_equal(on_manifold(REAL, FAKE, k), by_cdist(REAL, FAKE, k))
  assert 0.2 < np.mean(by_cdist(FAKE, REAL, k)) < 0.95


@pytest.mark.parametrize("case", torch_fidelity.CASES, ids=lambda case: case.name)
def test_equals_torch_fidelity(case):
  found = values(*case.features())
  np.testing.assert_allclose(found, [case.precision, case.recall], atol=1e-6)


def test_identical_sets_are_on_each_other_and_far_sets_are_not():
  assert values(REAL, REAL) == (1.0, 1.0)
  assert values(REAL, REAL[::-1] + 0.0) == (1.0, 1.0)
  assert values(REAL, REAL + 100.0) == (0.0, 0.0)


def test_collapse_onto_one_mode_keeps_precision_and_loses_recall():
  modes = np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0], [50.0, 50.0]])
  real = np.repeat(modes, 30, axis=0) + RNG.normal(size=(120, 2))
  precision, recall = values(real, modes[0] + 0.7 * RNG.normal(size=(120, 2)))
  assert precision > 0.9 and 0.05 < recall <= 0.25
  same = np.repeat(modes[:1], 120, axis=0)
  assert values(real, same) == (1.0, 0.0)  # one picture again and again: its balls have no size


def test_the_surface_belongs_to_the_ball():
  """On a line of steps of 1, the balls of k = 1 have radius 1: a point one step beyond the end is on the last one."""
  line = np.arange(5.0)[:, None]
  np.testing.assert_array_equal(on_manifold(np.array([[5.0], [-1.0], [5.001]]), line, 1), [True, True, False])


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1.2, 0.3)])
def test_the_errors_are_the_spread_over_redraws(scale, shift):
  """Of both sets; binomial errors alone are too small here."""
  rng = np.random.default_rng(1)
  found, binomial = [], []
  for i in range(30):
    real, fake = rng.normal(size=(200, 6)), scale * rng.normal(size=(200, 6)) + shift
    found.append(scores(real, fake, seed=i))
    binomial.append(precision_and_recall(real, fake, 3))
  for name in ("precision", "recall"):
    spread = np.std([score[name].value for score in found], ddof=1)
    assert 0.7 < np.sqrt(np.mean([score[name].standard_error ** 2 for score in found])) / spread < 1.6
    assert np.mean([item[name][1] for item in binomial]) < spread


def test_an_error_is_never_below_the_binomial():
  np.testing.assert_allclose(binomial_error(0.2, 100), np.sqrt(0.2 * 0.8 / 100))
  for value in (0.0, 1.0):
    np.testing.assert_allclose(binomial_error(value, 100), np.sqrt(0.005 * 0.995 / 100))
  found = scores(REAL, REAL + 100.0)["precision"]
  assert (found.value, found.standard_error) == (0.0, binomial_error(0.0, 120))


def test_the_same_scores_for_the_same_arguments():
  first = scores(REAL, FAKE, seed=3)
  assert first == scores(REAL, FAKE, seed=3)
  assert first["precision"].value == values(REAL, FAKE)[0] == scores(REAL, FAKE, seed=4)["precision"].value
  assert first["precision"].method == "10 disjoint parts of both sets"
  assert {score.freedom for score in first.values()} == {9}


def test_what_has_no_scores():
  with pytest.raises(ValueError, match="39 real samples are too few: with these settings it takes 40 or more"):
    scores(REAL[:39], FAKE)
  with pytest.raises(ValueError, match="120 of 120 generated features are not finite"):
    scores(REAL, FAKE * np.inf)
  with pytest.raises(ValueError, match="k=0 must be 1 or more, and parts=10"):
    PrecisionRecall(k=0)
  with pytest.raises(ValueError, match="parts=1 2 or more"):
    PrecisionRecall(parts=1)
