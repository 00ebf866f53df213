"""A killed or stopped run goes on by the same command, and ends as an undisturbed run does, to the bit.

The moments are drawn anew at each call. The undisturbed run compiles and the others read what it compiled, so equality
also shows that a cached executable computes the same bits.
"""

import functools
import random
import signal
from collections.abc import Callable

import pytest

from experiments.command_line.failures import EXIT_INTERRUPTED
from tests.experiments.runs import figures
from tests.reliability.disturbance import Fingerprint, disturb, fingerprint, finish


@pytest.fixture(scope="module", autouse=True)
def fresh_cache(tmp_path_factory):
  """Gives the module a directory of compiled functions that is empty at first."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
    patch.setenv("JAX_PLATFORMS", "cpu")
    yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Callable[[str], Fingerprint]:
  """Trains a config without disturbance, once, and returns its fingerprint."""

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
    pytest.param("vaeac:digits,tiny", signal.SIGKILL, True, -signal.SIGKILL, marks=pytest.mark.slow),  # it restores
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
