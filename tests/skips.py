"""With --no-skips a test that is skipped fails the run, unless ALLOWED says why it may be."""

import pytest

ALLOWED: dict[str, str] = {}  # the test's name, as pytest prints it: the reason


def pytest_addoption(parser: pytest.Parser) -> None:
  parser.addoption("--no-skips", action="store_true", help="fail on a skip that tests/skips.py does not list")


def pytest_sessionfinish(session: pytest.Session) -> None:
  """Fails the run, and names each test that was skipped without leave."""
  reporter = session.config.pluginmanager.get_plugin("terminalreporter")
  if reporter is None or not session.config.getoption("no_skips"):  # pytest-xdist's workers report to their parent
    return
  if names := sorted({report.nodeid for report in reporter.stats.get("skipped", [])} - set(ALLOWED)):
    reporter.write_line("\nskipped, and tests/skips.py does not say why they may be:", red=True)
    for name in names:
      reporter.write_line(name, red=True)
    session.exitstatus = pytest.ExitCode.TESTS_FAILED
