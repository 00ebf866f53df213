"""When the critic trains alone, round by round, against the loop of Arjovsky et al. 2017's code."""

import itertools

import pytest

from gan.game import Game


def critic_updates(game, length):
  """Of D before each of G's first ``length`` updates, as a run counts them: in whole rounds."""
  found = []
  for updates in range(length):
    waited = itertools.accumulate(itertools.repeat(game.n_critic))
    found.append(next(n for n in waited if n >= game.needed(updates)))
  return found


def test_wgans_pattern_is_100_before_the_first_25_updates_and_before_every_500th():
  found = critic_updates(Game(n_critic=5, warmup=100, warmup_first=25, warmup_every=500), 1502)
  theirs = [100 if updates < 25 or updates % 500 == 0 else 5 for updates in range(1502)]
  assert found == theirs


@pytest.mark.parametrize(
  ("warmup", "first", "every", "expected"),
  [
    (9, 2, 0, [9, 9, 3, 3, 3, 3]),
    (9, 0, 2, [9, 3, 9, 3, 9, 3]),
    (7, 1, 4, [9, 3, 3, 3, 9, 3]),  # whole rounds: no fewer than asked for
    (2, 6, 0, [3] * 6),
  ],
)
def test_a_warm_up_lasts_whole_rounds(warmup, first, every, expected):
  game = Game(n_critic=3, warmup=warmup, warmup_first=first, warmup_every=every)
  assert critic_updates(game, 6) == expected
