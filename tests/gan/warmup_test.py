"""When the critic trains alone, round by round, against the loop of Arjovsky et al. 2017's code."""

import itertools

import pytest

from gan.warmup import CriticWarmup


def critic_updates(warmup, n_critic, length):
  """Of D before each of G's first ``length`` updates, as a run counts them: in rounds of ``n_critic``."""
  found = []
  for updates in range(length):
    waited = itertools.accumulate(itertools.repeat(n_critic))
    found.append(next(n for n in waited if n >= warmup.needed(updates, n_critic)))
  return found


def test_wgans_pattern_is_100_before_the_first_25_updates_and_before_each_500th():
  found = critic_updates(CriticWarmup(updates=100, first=25, every=500), 5, 1502)
  theirs = [100 if updates < 25 or updates % 500 == 0 else 5 for updates in range(1502)]
  assert found == theirs
  assert [n for n in range(1502) if found[n] == 100] == [*range(25), 500, 1000, 1500]
  # What configs/wgan.py says of the rounds: 20 each for the first 25, and 19 more for each 500th.
  assert sum(found[:500]) // 5 == 25 * 20 + 475
  assert sum(found[500:1000]) // 5 == 500 + 19


@pytest.mark.parametrize(
  ("warmup", "expected"),
  [
    (CriticWarmup(updates=0, first=0, every=0), [3] * 6),
    (CriticWarmup(updates=9, first=2, every=0), [9, 9, 3, 3, 3, 3]),
    (CriticWarmup(updates=9, first=0, every=2), [9, 3, 9, 3, 9, 3]),
    (CriticWarmup(updates=7, first=1, every=4), [9, 3, 3, 3, 9, 3]),  # whole rounds: no fewer than asked for
    (CriticWarmup(updates=2, first=6, every=0), [3] * 6),
  ],
)
def test_counts_are_of_whole_rounds(warmup, expected):
  assert critic_updates(warmup, 3, 6) == expected
