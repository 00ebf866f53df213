"""A run with --no-skips passes only where no test was skipped without a reason in tests/skips.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import ROOT

_TEST = """import pytest
def test_that_runs(): pass
def test_that_needs_more(): pytest.skip("more is absent")
"""
_MODULE = 'import pytest\npytest.skip("all of it is absent", allow_module_level=True)\n'


@pytest.mark.parametrize("words", [(), ("-n", "1")], ids=["one process", "a worker"])
def test_a_skip_fails_the_run_and_is_named(words: tuple[str, ...], tmp_path: Path) -> None:
  (tmp_path / "a_test.py").write_text(_TEST)
  (tmp_path / "b_test.py").write_text(_MODULE)
  (tmp_path / "pytest.ini").write_text("[pytest]\npython_files = *_test.py\n")
  allow = "import tests.skips; tests.skips.ALLOWED |= {'a_test.py::test_that_needs_more': '', 'b_test.py': ''}\n"
  (tmp_path / "allow.py").write_text(allow)
  code, out = _pytest(tmp_path, *words)
  assert code == 1 and "why they may be:\na_test.py::test_that_needs_more\nb_test.py\n" in out
  code, out = _pytest(tmp_path, "-p", "allow", *words)
  assert code == 0 and "why they may be" not in out


def _pytest(directory: Path, *words: str) -> tuple[int, str]:
  """The exit code and the output of the tests in ``directory``."""
  command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.skips", "--no-skips", *words]
  environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{directory}", "PYTEST_ADDOPTS": ""}
  done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=300)
  return done.returncode, done.stdout
