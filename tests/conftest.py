"""Eight virtual CPU devices for every test, and quick compilation, set before anything touches JAX's devices.

What a test compiles, it runs a few times; the commands that tests start in processes of their own compile as always.
Both keep what they compiled in pytest's cache, where the other workers and later runs find it, which changes no bit:
--cache-clear forgets it.
"""

import os
from pathlib import Path

import jax
import pytest

from common.training.log import Status
from common.training.program import QUICK
from experiments.command_line import compilation_cache
from tests.skips import pytest_addoption, pytest_sessionfinish  # noqa: F401 - hooks, which pytest finds here

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
with pytest.MonkeyPatch.context() as patch:
  quick = dict(QUICK)
  if "xla_cpu_use_fusion_emitters" in QUICK:  # with the emitters, which later versions always use, 0 gave NaN
    quick["xla_backend_optimization_level"] = 0
  flags = [f"--{name}={str(value).lower()}" for name, value in quick.items()]
  patch.setenv("XLA_FLAGS", " ".join([os.environ.get("XLA_FLAGS", ""), *flags]))
  jax.devices()  # XLA reads the variable once


def pytest_configure(config: pytest.Config) -> None:
  """Without pytest's cache (-p no:cacheprovider) each test compiles for itself."""
  if config.pluginmanager.hasplugin("cacheprovider"):
    compilation_cache.use(Path(config.cache.mkdir("compiled")) / compilation_cache.folder(), Status(enabled=False))
