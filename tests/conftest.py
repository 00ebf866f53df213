"""Eight virtual CPU devices for every test, set before anything touches JAX's devices; and quick compilation.

What a test compiles, it runs a few times; the commands that tests start in processes of their own compile as always.
"""

import jax
import pytest

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def optimized():
  """Compilation as in training, for what runs long or is about rounding."""
  jax.config.update("jax_disable_most_optimizations", False)
  yield
  jax.config.update("jax_disable_most_optimizations", True)
