"""Self-attention against loops in numpy, and its start as the identity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from common.layers.attention import SelfAttention

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4, 6, 8)).astype(np.float32)


def variables_of(module):
  """Every parameter moved from its start, gamma above all."""
  variables = module.init(jax.random.key(0), X)
  params = jax.tree.map(lambda p: p + 0.5 * RNG.normal(size=p.shape).astype(np.float32), variables["params"])
  return {**variables, "params": params}


def largest(h):
  """Of each 2x2 places, [H, W, C] -> [H/2 * W/2, C]."""
  return np.array([h[i : i + 2, j : j + 2].max((0, 1)) for i in range(0, 4, 2) for j in range(0, 6, 2)])


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_it_is_the_formula(spectral_norm):
  module = SelfAttention(spectral_norm)
  variables = variables_of(module)
  kernels = []
  for i, features in enumerate([(8, 1), (8, 1), (8, 4), (4, 8)]):
    kernel = np.asarray(variables["params"][f"Conv_{i}"]["kernel"], np.float64).reshape(features)
    if spectral_norm:
      vectors = variables["spectral"][f"SpectralNorm_{i}"]
      kernel = kernel / (vectors["v"] @ kernel @ vectors["u"])
    kernels.append(kernel)
  actual = np.asarray(module.apply(variables, X))
  for image, out in zip(X.astype(np.float64), actual, strict=True):
    keys, values = largest(image @ kernels[1]), largest(image @ kernels[2])
    for i, j in np.ndindex(4, 6):
      weights = np.exp(keys @ (image[i, j] @ kernels[0]))
      seen = (weights / weights.sum()) @ values @ kernels[3]
      np.testing.assert_allclose(out[i, j], image[i, j] + float(variables["params"]["gamma"]) * seen, atol=1e-4)


def test_at_the_start_it_is_the_identity_and_gamma_alone_learns():
  module = SelfAttention()
  variables = module.init(jax.random.key(0), X)
  np.testing.assert_array_equal(module.apply(variables, X), X)
  loss = lambda params: jnp.sum(jnp.sin(module.apply({**variables, "params": params}, X)))  # noqa: E731
  gradient = jax.grad(loss)(variables["params"])
  assert gradient.pop("gamma") != 0.0
  assert all(np.all(leaf == 0.0) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("shape", [(1, 4, 4, 12), (1, 5, 4, 8)])
def test_a_shape_that_does_not_fit_is_refused(shape):
  with pytest.raises(ConfigError, match="needs even sizes and a multiple of 8 channels"):
    jax.eval_shape(SelfAttention().init, jax.random.key(0), jnp.zeros(shape))
