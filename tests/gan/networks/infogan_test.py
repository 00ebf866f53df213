"""What the slope of G's rectifier is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logit

from gan.networks.infogan import Generator


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
