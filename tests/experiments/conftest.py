"""Commands in their own processes share what they compile, which changes no bit; the user's cache stays as it is."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def compiled(request, tmp_path_factory):
  """The directory of compiled functions, which commands take from JAX's variable."""
  with pytest.MonkeyPatch.context() as patch:
    cache = getattr(request.config, "cache", None)
    directory = cache.mkdir("compiled") if cache else tmp_path_factory.mktemp("compiled")
    patch.setenv("JAX_COMPILATION_CACHE_DIR", str(directory))
    patch.setenv("JAX_PLATFORMS", "cpu")
    yield directory
