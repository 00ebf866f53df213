"""The inception score where it is known, and as torch-fidelity computes it."""

import numpy as np
import pytest
from scipy import special, stats

from common.evaluation.metrics.inception_score import InceptionScore, divergences
from common.evaluation.metrics.score import SampleSet
from tests.common.evaluation.metrics import torch_fidelity

RNG = np.random.default_rng(0)


def samples(logits):
  return SampleSet(np.zeros((len(logits), 1, 1, 1), np.uint8), np.zeros((len(logits), 1)), logits)


def score(logits, seed=0, **settings):
  return InceptionScore(**settings)(samples(np.zeros((1, 1))), samples(logits), seed)["inception_score"]


def one_hot(classes, count):
  return np.where(np.arange(count)[:, None] % classes == np.arange(classes), 1e4, 0.0)


def test_divergences_are_scipys():
  logits = 3 * RNG.normal(size=(20, 7)) + 1e4  # far from 0
  p = special.softmax(logits, axis=1)
  np.testing.assert_allclose(divergences(logits), [stats.entropy(row, p.mean(0)) for row in p], rtol=1e-10)


@pytest.mark.parametrize("mode", ["exact", "torch_fidelity"])
@pytest.mark.parametrize("splits", [1, 10])
def test_undecided_and_collapsed_pictures_score_one(mode, splits):
  np.testing.assert_allclose(score(np.full((50, 10), 3.0), mode=mode, splits=splits).value, 1.0, rtol=1e-12)
  np.testing.assert_allclose(score(one_hot(1, 50), mode=mode, splits=splits).value, 1.0, rtol=1e-12)
  collapsed = np.tile([[0.0, 1e4, 0.0]], (50, 1))  # classes that never come must not become NaN
  np.testing.assert_allclose(score(collapsed, mode=mode, splits=splits).value, 1.0, rtol=1e-12)


@pytest.mark.parametrize("classes", [2, 10])
def test_sure_and_balanced_pictures_score_the_number_of_classes(classes):
  for mode in ("exact", "torch_fidelity"):
    found = score(one_hot(classes, 100), mode=mode, splits=1)
    np.testing.assert_allclose(found.value, classes, rtol=1e-9)
    assert found.standard_error < 1e-9


def test_the_more_parts_the_lower():
  logits = 4 * RNG.normal(size=(400, 10))
  values = [score(logits, splits=splits).value for splits in (1, 4, 40)]
  assert values[0] > values[1] > values[2]


def test_parts_are_drawn_at_random():
  """Pictures that come sorted by class score as shuffled ones do, and not 1."""
  logits = one_hot(10, 1000)
  found = score(logits[np.argsort(np.argmax(logits, axis=1), kind="stable")])
  assert 9 < found.value < 10
  assert found == score(logits[np.argsort(np.argmax(logits, axis=1), kind="stable")])
  assert found.value != score(logits[np.argsort(np.argmax(logits, axis=1), kind="stable")], seed=1).value


@pytest.mark.parametrize("splits", [1, 10])
def test_the_error_is_the_spread_over_redraws(splits):
  rng = np.random.default_rng(1)
  found = [score(3 * rng.normal(size=(400, 10)), seed=i, splits=splits) for i in range(400)]
  spread = np.std([item.value for item in found], ddof=1)
  assert 0.9 < np.sqrt(np.mean([item.standard_error**2 for item in found])) / spread < 1.1


@pytest.mark.parametrize("case", torch_fidelity.CASES, ids=lambda case: case.name)
def test_equals_torch_fidelity(case):
  _, fake = case.features()
  found = score(fake * 5, mode="torch_fidelity")
  np.testing.assert_allclose([found.value, found.standard_error], case.inception_score, rtol=1e-6)
  assert found.method == "standard deviation of 10 splits, not of their mean"


def test_what_has_no_score():
  with pytest.raises(ValueError, match="no logits"):
    InceptionScore()(samples(np.zeros((1, 1))), SampleSet(np.zeros((9, 1, 1, 1), np.uint8), np.zeros((9, 1))), 0)
  with pytest.raises(ValueError, match="9 logits are fewer than 10"):
    score(np.zeros((9, 3)))
  with pytest.raises(ValueError, match="1 of 20 logits are not finite"):
    score(np.where(np.arange(20)[:, None] == 3, np.nan, np.zeros((20, 3))))
  with pytest.raises(ValueError, match="splits=0"):
    InceptionScore(splits=0)
  with pytest.raises(ValueError, match='mode="tf" is not one of'):
    InceptionScore(mode="tf")
