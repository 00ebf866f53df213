"""Spectral normalization against numpy's singular values, its derivative, and when its vectors move."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from common.ema import by_decay
from common.layers.conv import Conv
from common.layers.spectral import SpectralNorm
from common.state import apply_gradients, init_network


class Dense(nn.Module):
  @nn.compact
  def __call__(self, x):
    return SpectralNorm(nn.Dense(5))(x)


class Convolution(nn.Module):
  @nn.compact
  def __call__(self, x):
    return SpectralNorm(Conv(5, 3))(x)


CASES = {"Dense_0": (Dense(), (2, 7)), "Conv_0": (Convolution(), (2, 4, 6, 3))}


def example(name):
  """module, x, variables with a bias, the kernel [I, O] in float64, and the two vectors."""
  module, shape = CASES[name]
  x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
  variables = jax.jit(lambda: module.init(jax.random.key(0), x))()
  variables["params"][name]["bias"] = jnp.arange(5.0)
  kernel = np.asarray(variables["params"][name]["kernel"], np.float64)
  vectors = {k: np.asarray(v, np.float64) for k, v in variables["spectral"]["SpectralNorm_0"].items()}
  return module, x, variables, kernel.reshape(-1, 5), vectors


def plain(name, x, kernel, shape):
  """The layer without normalization, at another kernel."""
  layer = nn.Dense(5) if name == "Dense_0" else Conv(5, 3)
  return layer.apply(
    {"params": {"kernel": jnp.asarray(kernel.reshape(shape), jnp.float32), "bias": jnp.arange(5.0)}}, x
  )


@pytest.mark.parametrize("name", CASES)
def test_parameters_stay_under_the_layers_name(name):
  module, x, variables, kernel, vectors = example(name)
  assert set(variables["params"]) == {name} and set(variables["params"][name]) == {"kernel", "bias"}
  assert vectors["u"].shape == (5,) and vectors["v"].shape == kernel.shape[:1]
  for vector in vectors.values():
    np.testing.assert_allclose(np.linalg.norm(vector), 1.0, rtol=1e-6)
  other = module.init(jax.random.key(1), x)["spectral"]["SpectralNorm_0"]["u"]  # the first vectors depend on the key
  assert np.abs(other - vectors["u"]).max() > 1e-3


@pytest.mark.parametrize("name", CASES)
def test_where_mutable_one_power_iteration_comes_first(name):
  module, x, variables, kernel, vectors = example(name)
  y, new = module.apply(variables, x, mutable=["spectral"])
  v = kernel @ vectors["u"]
  v /= np.linalg.norm(v)
  u = v @ kernel
  u /= np.linalg.norm(u)
  np.testing.assert_allclose(new["spectral"]["SpectralNorm_0"]["v"], v, atol=1e-6)
  np.testing.assert_allclose(new["spectral"]["SpectralNorm_0"]["u"], u, atol=1e-6)
  shape = variables["params"][name]["kernel"].shape
  np.testing.assert_allclose(y, plain(name, x, kernel / (v @ kernel @ u), shape), atol=1e-5)
  np.testing.assert_allclose(module.apply({**variables, **new}, x), y, atol=1e-6)  # frozen: the same function again


@pytest.mark.parametrize("name", CASES)
def test_sigma_becomes_the_largest_singular_value(name):
  module, x, variables, kernel, _ = example(name)

  def iterate(state, _):
    y, new = module.apply({**variables, **state}, x, mutable=["spectral"])
    return new, y

  _, ys = jax.lax.scan(iterate, {"spectral": variables["spectral"]}, length=200)
  largest = np.linalg.svd(kernel, compute_uv=False)[0]
  shape = variables["params"][name]["kernel"].shape
  np.testing.assert_allclose(ys[-1], plain(name, x, kernel / largest, shape), atol=1e-4)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("mutable", [False, ["spectral"]])
def test_the_derivative_holds_the_vectors_and_follows_sigma(name, mutable):
  """d/dW f(W / sigma) = (G - <G, W / sigma> v u^T) / sigma for G = f'(W / sigma) (Miyato et al. 2018, Eq. 12)."""
  module, x, variables, kernel, vectors = example(name)
  weights = jnp.asarray(np.random.default_rng(1).normal(size=jax.eval_shape(module.apply, variables, x).shape))

  def f(params):
    y = module.apply({**variables, "params": params}, x, mutable=mutable)
    return jnp.sum(weights * jnp.sin(y[0] if mutable else y))

  if mutable:
    new = module.apply(variables, x, mutable=mutable)[1]["spectral"]["SpectralNorm_0"]
    vectors = {k: np.asarray(v, np.float64) for k, v in new.items()}
  u, v = vectors["u"], vectors["v"]
  sigma, shape = v @ kernel @ u, variables["params"][name]["kernel"].shape
  outer = jax.grad(lambda k: jnp.sum(weights * jnp.sin(plain(name, x, k, shape))))(
    jnp.asarray(kernel / sigma, jnp.float32)
  )
  outer = np.asarray(outer, np.float64)
  expected = (outer - np.sum(outer * kernel / sigma) * np.outer(v, u)) / sigma
  actual = jax.grad(f)(variables["params"])[name]["kernel"]
  np.testing.assert_allclose(np.asarray(actual).reshape(-1, 5), expected, atol=1e-4 * np.abs(expected).max())


def test_sigma_of_averaged_kernels_is_their_largest_singular_value():
  """After steps of training, during which the raw kernel's vectors had one power iteration each."""

  class Layer(nn.Module):
    @nn.compact
    def __call__(self, x):
      return SpectralNorm(nn.Dense(24, use_bias=False))(x)

  module, tx, ema = Layer(), optax.adam(1e-2), by_decay(0.98, 0.0)
  eye, (first, last) = jnp.eye(32), jax.random.normal(jax.random.key(1), (2, 32, 24))
  net = init_network(module, tx, ema, jax.random.key(0), eye)

  def step(net, t):
    target = jnp.cos(t / 60) * first + jnp.sin(t / 60) * last  # a task that changes, as a generator's

    def loss(params):
      y, mutable = module.apply({"params": params, **net.mutable}, eye, mutable=["spectral"])
      return jnp.sum((y - target) ** 2), mutable

    grads, mutable = jax.grad(loss, has_aux=True)(net.params)
    return apply_gradients(net, grads, tx, ema, mutable=mutable)[0], None

  net, _ = jax.lax.scan(step, net, jnp.arange(200.0))

  def largest(variables):  # of W / sigma
    return np.linalg.svd(module.apply(variables, eye), compute_uv=False)[0]

  assert net.ema_mutable == {}
  assert abs(largest({"params": net.ema_params, **net.mutable}) - 1.0) > 0.02  # by the raw kernel's vectors
  assert abs(largest(net.variables(ema=True)) - 1.0) < 1e-3
