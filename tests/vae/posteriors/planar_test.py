"""The planar flow against its equations in float64, its jacobian, and parameters that would fold it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae.posteriors.planar import MIN_SLOPE, invertible, planar

RNG = np.random.default_rng(0)
U, W, Z = RNG.normal(size=(3, 6, 4)) * np.array([[[2.0]], [[1.0]], [[1.5]]])
B = RNG.normal(size=6)
C = np.log(np.expm1(1 - MIN_SLOPE))  # where softplus is 1 - MIN_SLOPE

run = jax.jit(planar)
jacobians = jax.jit(jax.vmap(jax.jacobian(planar, (0, 1, 2, 3))))


def finite(tree):
  return all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(tree))


def test_the_equations_and_the_jacobian():
  x = np.sum(W * U, -1, keepdims=True)
  m = np.logaddexp(0, x + C) - (1 - MIN_SLOPE)
  u_hat = U + (m - x) * W / np.sum(W**2, -1, keepdims=True)
  h = np.tanh(np.sum(W * Z, -1) + B)
  z, log_det = run(Z, U, W, B)
  np.testing.assert_allclose(z, Z + u_hat * h[:, None], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(log_det, np.log(1 + (1 - h**2) * np.sum(u_hat * W, -1)), rtol=1e-4, atol=1e-5)
  sign, expected = np.linalg.slogdet(jacobians(Z, U, W, B)[0][0])
  np.testing.assert_allclose(log_det, expected, atol=1e-5)
  np.testing.assert_array_equal(sign, 1.0)


@pytest.mark.parametrize("u_scale", [1e-6, 1.0, 1e4])
@pytest.mark.parametrize("w_scale", [1e-6, 1.0, 1e4])
def test_no_parameters_fold_it(u_scale, w_scale):
  """u against w: w^T u_hat >= -1, with finite values and gradients, and u_hat no longer than twice u."""
  w = np.float32(W * w_scale)
  u = np.float32(-u_scale * w / np.linalg.norm(w, axis=-1, keepdims=True))
  u_hat, slope = map(np.float64, jax.jit(invertible)(u, w))
  assert np.all(slope >= -1 + 0.99 * MIN_SLOPE)
  # The product itself is exact to the rounding of its terms.
  np.testing.assert_allclose(np.sum(w * u_hat, -1), slope, atol=1e-6 * np.sum(abs(w * u), -1).max() + 1e-9)
  assert np.all(np.linalg.norm(u_hat, axis=-1) <= 2.001 * u_scale)
  for b in (0.0, 30.0):  # at z = 0 and b = 0 it is steepest
    at = np.zeros((6, 4)), u, w, np.full(6, b)
    assert finite((run(*at), jacobians(*at)))


def test_zero_parameters_are_the_identity_with_finite_gradients():
  at = Z, np.zeros((6, 4)), np.zeros((6, 4)), np.zeros(6)
  z, log_det = run(*at)
  np.testing.assert_array_equal(z, np.float32(Z))
  np.testing.assert_array_equal(log_det, np.zeros(6))
  assert finite(jacobians(*at))


def test_the_constraint_is_smooth():
  """d(w^T u_hat) / d(w^T u) is a sigmoid, without a jump at 0."""
  x, w = np.array([-20, -1e-4, 0, 1e-4, 20]), jnp.ones(1)
  slopes = jax.jit(jax.vmap(jax.grad(lambda x: invertible(x[None], w)[1])))(x)
  np.testing.assert_allclose(slopes, 1 / (1 + np.exp(-(x + C))), rtol=1e-4, atol=1e-7)
