"""Commands in their own processes share what they compile, which changes no bit; the user's cache stays as it is."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def compiled(request, tmp_path_factory):
  """The directory of compiled functions, which commands take from JAX's variable."""
  with pytest.MonkeyPatch.context() as patch:
    kept = request.config.pluginmanager.hasplugin("cacheprovider")
    directory = request.config.cache.mkdir("compiled") if kept else tmp_path_factory.mktemp("compiled")
    patch.setenv("JAX_COMPILATION_CACHE_DIR", str(directory))
    patch.setenv("JAX_PLATFORMS", "cpu")
    yield directory
