"""The slope of G's rectifier, and the initial weights of D."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logit

from common import random
from gan.networks.infogan import Discriminator, Generator


@pytest.mark.parametrize(("slope", "affine"), [(1.0, True), (0.2, False), (0.0, False)])
def test_a_generator_of_slope_1_is_affine_and_no_other(slope, affine):
  """By running statistics; so each of its rectifiers has the slope."""
  net = Generator((8, 8, 1), (0.0, 1.0), width=2, hidden=8, slope=slope)
  z = jax.random.normal(jax.random.key(0), (3, 4))
  variables = net.init(jax.random.key(1), z, train=True)
  variables = jax.tree.map(lambda x: x * 10.0 if x.ndim > 1 else x, variables)
  ends = jnp.stack([z[0], z[1], 0.5 * (z[0] + z[1])])
  a, b, middle = logit(np.asarray(net.apply(variables, ends, train=False), np.float64))
  assert np.allclose(middle, 0.5 * (a + b), atol=1e-4) == affine


@pytest.mark.parametrize("truncated", [False, True])
def test_the_convolutions_of_a_discriminator_may_start_cut_off_at_two_deviations(truncated):
  net, x = Discriminator((8, 8, 1), width=32, hidden=8, truncated=truncated), jnp.zeros((2, 8, 8, 1))
  keys = random.row_keys(jax.random.key(1), jnp.arange(2))
  params = net.init(jax.random.key(0), x, train=True, keys=keys)["params"]
  kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 4]
  assert len(kernels) == 2 and all((jnp.abs(kernel).max() <= 0.04) == truncated for kernel in kernels)
