"""Eight virtual CPU devices for every test, and quick compilation, set before anything touches JAX's devices.

What a test compiles, it runs a few times; the commands that tests start in processes of their own compile as always.
"""

import os

import jax
import pytest

from common.program import QUICK
from tests.skips import pytest_addoption, pytest_sessionfinish  # noqa: F401 - hooks, which pytest finds here

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
with pytest.MonkeyPatch.context() as patch:
  flags = [f"--{name}={str(value).lower()}" for name, value in QUICK.items()]
  patch.setenv("XLA_FLAGS", " ".join([os.environ.get("XLA_FLAGS", ""), *flags]))
  jax.devices()  # XLA reads the variable once
