"""Commands in processes of their own share what they compile, which changes no bit (see kill_test.py)."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory):
  """The directory of compiled steps; this process has read its settings already and keeps compiling."""
  with pytest.MonkeyPatch.context() as patch:
    directory = tmp_path_factory.mktemp("compiled")
    patch.setenv("JAX_COMPILATION_CACHE_DIR", str(directory))
    patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    patch.setenv("JAX_PLATFORMS", "cpu")
    yield directory
