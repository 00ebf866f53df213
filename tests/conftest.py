"""Eight virtual CPU devices for every test, set before anything touches JAX's devices."""

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
