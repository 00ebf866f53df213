"""Copies of the training set, and none, told apart."""

import numpy as np
import pytest
from scipy import stats

from common.evaluation.metrics.memorisation import Memorisation, near_share, rank_statistic
from common.evaluation.metrics.score import SampleSet

RNG = np.random.default_rng(0)
TRAIN = RNG.normal(size=(400, 6))


def samples(rows):
  return SampleSet(images=np.zeros((len(rows), 1, 1, 1), np.uint8), features=rows)


def scores(train, fake, seed=0, **settings):
  return Memorisation(**settings)(samples(train), samples(fake), seed)


@pytest.mark.parametrize("ties", [False, True])
def test_the_rank_is_scipys_mann_whitney(ties):
  held_out, fake = RNG.gamma(3.0, size=60), RNG.gamma(2.5, size=45)
  if ties:
    held_out, fake = np.round(held_out), np.round(fake)
  expected = stats.mannwhitneyu(held_out, fake).statistic / (60 * 45)
  np.testing.assert_allclose(rank_statistic(held_out, fake), expected, rtol=1e-12)
  pairs = (fake < held_out[:, None]) + 0.5 * (fake == held_out[:, None])
  np.testing.assert_allclose(rank_statistic(held_out, fake), pairs.mean(), rtol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 0.7])
def test_the_intervals_hold_the_truth(scale):
  """A perfect generator is at 0.5 and at the quantile; of one that is drawn to the middle, errors of independent
  distances were too small: they held the mean of all draws in 83 % of them."""
  rng = np.random.default_rng(2)
  found = [scores(rng.normal(size=(200, 4)), scale * rng.normal(size=(200, 4)), i, quantile=0.05) for i in range(80)]
  for name, perfect in (("copying_rank", 0.5), ("copied_share", 0.05)):
    values = [score[name].value for score in found]
    if scale == 1.0:
      assert abs(np.mean(values) - perfect) < 4 * np.std(values) / np.sqrt(80)
    held = np.mean([low <= np.mean(values) <= high for low, high in (score[name].interval for score in found)])
    assert held >= 0.9


def test_copies_are_seen():
  for noise in (0.0, 0.01):
    found = scores(TRAIN, TRAIN[::-1] + noise * RNG.normal(size=(400, 6)))
    assert found["copying_rank"].value > 0.99 and found["copied_share"].value == 1.0


@pytest.mark.parametrize("copied", [0.1, 0.5])
def test_the_share_of_copies_is_found(copied):
  """A tenth of copies shows in the share at once, and in the rank as half of a tenth."""
  rng = np.random.default_rng(3)
  fake = rng.normal(size=(400, 6))
  fake[: int(copied * 400)] = TRAIN[: int(copied * 400)] + 1e-3
  found = scores(TRAIN, fake)
  assert abs(found["copied_share"].value - copied) < 0.03
  assert abs(found["copying_rank"].value - (0.5 + copied / 2)) < 3 * found["copying_rank"].standard_error


def test_bad_pictures_are_no_copies():
  found = scores(TRAIN, TRAIN + 10.0)
  assert found["copying_rank"].value < 0.01 and found["copied_share"].value == 0.0


def test_the_share_by_hand():
  assert near_share(np.arange(1.0, 101.0), np.array([0.5, 5.0, 5.1, 200.0]), 0.05) == 0.5


def test_the_same_scores_for_the_same_arguments():
  fake = RNG.normal(size=(400, 6))
  first = scores(TRAIN, fake, seed=1)
  assert first == scores(TRAIN, fake, seed=1)
  assert first["copied_share"].method == "jackknife over 10 groups of each set"
  assert {score.freedom for score in first.values()} == {9}


def test_what_has_no_scores():
  with pytest.raises(ValueError, match="99 real samples are too few: with these settings it takes 100 or more"):
    scores(TRAIN[:99], TRAIN)
  with pytest.raises(ValueError, match="400 of 400 generated features are not finite"):
    scores(TRAIN, TRAIN * np.nan)
  with pytest.raises(ValueError, match="quantile=1.0 must be above 0 and below 1"):
    Memorisation(quantile=1.0)
  with pytest.raises(ValueError, match="groups=1"):
    Memorisation(groups=1)
