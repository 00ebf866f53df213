"""Kills and stops: the same command goes on, and the end is the undisturbed run's to the bit.

The long form, with damaged checkpoints, is ``python -m experiments.reliability``. The undisturbed run compiles and the
others read what it compiled, so that equality also shows that a cached executable computes the same bits.
"""

import functools
import random
import signal
from collections.abc import Callable

import pytest

from experiments.command_line.failures import EXIT_INTERRUPTED
from experiments.reliability import Fingerprint, disturb, fingerprint, finish
from tests.experiments.runs import figures


@pytest.fixture(scope="module", autouse=True)
def fresh_cache(tmp_path_factory):
  """A directory of compiled functions that is empty at first."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
    yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Callable[[str], Fingerprint]:
  """The end of an undisturbed run of a config, trained once."""

  @functools.cache
  def train(config: str) -> Fingerprint:
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(workdir, config)
    return fingerprint(workdir)

  return train


# Two SIGTERMs: the second comes while the first one's save goes on.
@pytest.mark.parametrize(
  ("config", "number", "saving", "code"),
  [
    ("gan:tiny", signal.SIGKILL, False, -signal.SIGKILL),
    ("vae:tiny", signal.SIGKILL, True, -signal.SIGKILL),
    ("vae:tiny", signal.SIGTERM, True, EXIT_INTERRUPTED),
  ],
)
def test_same_bits_after(config, number, saving, code, undisturbed, tmp_path):
  workdir, expected = tmp_path / "run", undisturbed(config)
  after, times = random.Random().uniform(0.0, 0.5), 1 + (number == signal.SIGTERM)
  assert disturb(workdir, config, number, after=after, saving=saving, times=times) == code
  finish(workdir, config)
  assert fingerprint(workdir) == expected
  steps = [line["step"] for line in figures(workdir)]
  assert steps == sorted([*range(5, 201, 5), *range(50, 201, 50)])
