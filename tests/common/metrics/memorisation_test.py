"""Copies of the training set, and none, told apart."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from common.metrics.memorisation import Memorisation, near_share, nearest_distances, rank_statistic
from common.metrics.score import SampleSet

RNG = np.random.default_rng(0)
TRAIN = RNG.normal(size=(400, 6))


def samples(rows):
  return SampleSet(images=np.zeros((len(rows), 1, 1, 1), np.uint8), features=rows)


def scores(train, fake, seed=0, **settings):
  return Memorisation(**settings)(samples(train), samples(fake), seed)


def test_distances_are_those_of_a_double_loop():
  fake = RNG.normal(size=(30, 6))
  held_out, distances = nearest_distances(TRAIN, fake)
  np.testing.assert_allclose(held_out, np.sort(cdist(TRAIN, TRAIN), axis=1)[:, 1], rtol=1e-12)
  np.testing.assert_allclose(distances, cdist(fake, TRAIN).min(axis=1), rtol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_the_rank_is_scipys_mann_whitney(ties):
  held_out, fake = RNG.gamma(3.0, size=60), RNG.gamma(2.5, size=45)
  if ties:
    held_out, fake = np.round(held_out), np.round(fake)
  expected = stats.mannwhitneyu(held_out, fake).statistic / (60 * 45)
  np.testing.assert_allclose(rank_statistic(held_out, fake)[0], expected, rtol=1e-12)
  pairs = (fake < held_out[:, None]) + 0.5 * (fake == held_out[:, None])
  np.testing.assert_allclose(rank_statistic(held_out, fake)[0], pairs.mean(), rtol=1e-12)
  by_hand = np.sqrt(np.var(pairs.mean(axis=0), ddof=1) / 45 + np.var(pairs.mean(axis=1), ddof=1) / 60)
  np.testing.assert_allclose(rank_statistic(held_out, fake)[1], by_hand, rtol=1e-12)


def test_the_error_at_one_half_is_mann_and_whitneys():
  """As in the z of Meehan et al. 2020: sqrt((N + M + 1) / (12 N M)) for equal distributions."""
  rng = np.random.default_rng(1)
  errors = [rank_statistic(rng.normal(size=200), rng.normal(size=300))[1] for _ in range(50)]
  np.testing.assert_allclose(np.mean(errors), np.sqrt(501 / (12 * 200 * 300)), rtol=0.02)


def test_a_perfect_generator_copies_nothing():
  rng = np.random.default_rng(2)
  found = [
    scores(rng.normal(size=(400, 6)), rng.normal(size=(400, 6)), i, quantile=0.05, resamples=20) for i in range(40)
  ]
  for name, expected in (("copying_rank", 0.5), ("copied_share", 0.05)):
    values = [score[name].value for score in found]
    assert abs(np.mean(values) - expected) < 4 * np.std(values) / np.sqrt(40)
    errors = np.sqrt(np.mean([score[name].standard_error ** 2 for score in found]))
    assert 0.65 < errors / np.std(values, ddof=1) < 1.7


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
  assert first["copied_share"].method == "200 bootstrap resamples"


def test_what_has_no_scores():
  with pytest.raises(ValueError, match="99 real samples are too few: with these settings it takes 100 or more"):
    scores(TRAIN[:99], TRAIN)
  with pytest.raises(ValueError, match="400 of 400 generated features are not finite"):
    scores(TRAIN, TRAIN * np.nan)
  with pytest.raises(ValueError, match="quantile=1.0 must be above 0 and below 1"):
    Memorisation(quantile=1.0)
  with pytest.raises(ValueError, match="resamples=1"):
    Memorisation(resamples=1)
