"""The coupling flow as a density: inverse, jacobian, integral, draws, and a fit."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from common import random
from common.errors import ConfigError
from tests.vae.flows.parameters import drawn
from vae.flows.coupling import CouplingFlow


def rows_of(count):
  return random.row_keys(jax.random.key(0), jnp.arange(count))


class Model(nn.Module):
  """As a VAE holds a prior."""

  prior: nn.Module

  def __call__(self, z):
    return self.prior(lambda images: images).log_prob(z)

  def sample(self, rows):
    return self.prior(lambda images: images).sample(rows)

  def both_ways(self, z):
    x, log_det = self.prior.forward(z)
    return x, log_det, self.prior.inverse(x)


def started(z_dim, scale, **settings):
  """A flow in its model, and parameters for it."""
  model = Model(CouplingFlow(z_dim, **{"layers": 4, "width": 16, "depth": 1, **settings}))
  return model, drawn(model.init, jnp.zeros((1, z_dim)), scale=scale)


def test_it_starts_as_the_standard_normal():
  model = Model(CouplingFlow(3, layers=2, width=8, depth=1))
  z = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
  variables = jax.jit(model.init)(jax.random.key(0), z)
  np.testing.assert_allclose(jax.jit(model.apply)(variables, z), stats.norm.logpdf(z).sum(-1), rtol=1e-5)
  draws = model.apply(variables, rows_of(5), method="sample")
  np.testing.assert_array_equal(draws, random.normal(rows_of(5), (3,)))


def test_inverse_and_log_determinant():
  z_dim = 5
  model, variables = started(z_dim, 0.5)
  z = 2.0 * np.random.default_rng(1).normal(size=(4, 3, z_dim)).astype(np.float32)

  def one(z):
    x, *rest = model.apply(variables, z, method="both_ways")
    return x, (x, *rest)

  jacobian, (x, log_det, again) = jax.jit(jax.vmap(jax.jacobian(one, has_aux=True)))(z.reshape(-1, z_dim))
  expected = np.linalg.slogdet(jacobian)[1]
  assert np.std(expected) > 0.1
  np.testing.assert_allclose(log_det, expected, atol=1e-4)
  np.testing.assert_allclose(again, z.reshape(-1, z_dim), rtol=1e-4, atol=1e-4)
  log_prob = jax.jit(model.apply)(variables, z)
  np.testing.assert_allclose(log_prob, (stats.norm.logpdf(x).sum(-1) + expected).reshape(4, 3), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("layers", "seen"), [(2, 1), (4, 4)])
def test_every_coordinate_moves_by_others(layers, seen):
  """Two couplings move all; four let all see all."""
  model, variables = started(5, 1.0, layers=layers)
  jacobian = jax.jit(jax.jacobian(lambda z: model.apply(variables, z, method="both_ways")[0]))(np.ones(5))
  others = (np.asarray(jacobian) != 0).sum(1) - 1
  assert np.all(others >= seen)


def test_one_coupling_moves_only_what_it_does_not_keep():
  model, variables = started(5, 1.0)
  coupling = model.bind(variables).prior.couplings[0]
  outputs = np.asarray(coupling(jnp.ones(5)))
  np.testing.assert_array_equal(outputs != 0, [[False, True, False, True, False]] * 2)
  np.testing.assert_array_equal(outputs, coupling(jnp.array([1.0, 7.0, 1.0, -3.0, 1.0])))


def test_the_scale_is_bounded():
  model, variables = started(4, 10.0, max_log_scale=1.5)
  log_scale, _ = model.bind(variables).prior.couplings[1](100.0 * jnp.ones(4))
  assert 1.49 < float(jnp.max(jnp.abs(log_scale))) <= 1.5


def test_the_density_integrates_to_one_and_draws_are_of_it():
  model, variables = started(2, 0.5)
  draws = np.asarray(jax.jit(lambda rows: model.apply(variables, rows, method="sample"))(rows_of(20_000)))
  side = np.linspace(-9, 9, 401)
  middle = 0.5 * (side[1:] + side[:-1])
  grid = np.stack(np.meshgrid(middle, middle, indexing="ij"), -1)
  mass = np.exp(np.float64(jax.jit(model.apply)(variables, grid))) * (side[1] - side[0]) ** 2
  assert abs(np.sum(mass) - 1) < 2e-3
  normal = np.exp(stats.norm.logpdf(grid).sum(-1)) * (side[1] - side[0]) ** 2
  assert 0.5 * np.abs(mass - normal).sum() > 0.2  # not what it started as
  counts, *_ = np.histogram2d(*draws.T, bins=[side[::20]] * 2)
  expected = mass.reshape(20, 20, 20, 20).sum((1, 3))
  assert counts.sum() > 0.998 * len(draws)
  assert 0.5 * np.abs(counts / len(draws) - expected).sum() < 0.03
  for power in (1, 2):
    moment = np.tensordot(mass, grid**power, axes=((0, 1), (0, 1)))
    np.testing.assert_allclose(np.mean(draws**power, 0), moment, atol=5 * np.std(draws**power, 0).max() / 141)


def test_a_draw_depends_on_its_key_only():
  model, variables = started(3, 0.5)
  sample = jax.jit(lambda rows: model.apply(variables, rows, method="sample"))
  order = np.array([3, 1, 4, 0, 2])
  np.testing.assert_allclose(sample(rows_of(5)[order]), sample(rows_of(5))[order], rtol=1e-6)


def test_a_fit_far_from_unit_scale_finds_what_a_gaussian_does_not():
  """z2 given z1 lies along a parabola: the likelihood comes near the true entropy."""
  e, noise = np.random.default_rng(0).normal(size=(2, 4096))
  scale = np.array([5.0, 0.02])
  z = jnp.asarray(np.stack([e, e**2 + 0.3 * noise], -1) * scale + np.array([40.0, -7.0]), jnp.float32)
  entropy = 1 + np.log(2 * np.pi) + np.log(0.3) + np.sum(np.log(scale))  # of two independent normals, sheared
  gaussian = 1 + np.log(2 * np.pi) + 0.5 * np.linalg.slogdet(np.cov(z.T))[1]
  flow = CouplingFlow(2, layers=4, width=32, depth=1)
  start = jax.jit(lambda key: flow.init(key, z, method="log_prob"))(jax.random.key(0))["params"]
  start |= {"shift": jnp.mean(z, 0), "log_scale": jnp.log(jnp.std(z, 0))}
  tx = optax.adam(1e-2)

  def nll(params, z):
    return -jnp.mean(flow.apply({"params": params}, z, method="log_prob"))

  def update(carry, batch):
    params, state = carry
    loss, grads = jax.value_and_grad(nll)(params, batch)
    updates, state = tx.update(grads, state)
    return (optax.apply_updates(params, updates), state), loss

  batches = jnp.tile(z.reshape(16, 256, 2), (16, 1, 1))
  _, losses = jax.jit(lambda p: jax.lax.scan(update, (p, tx.init(p)), batches))(start)
  assert gaussian - entropy > 1.0
  np.testing.assert_allclose(losses[0], gaussian, atol=0.15)
  assert entropy - 0.1 < np.mean(losses[-16:]) < entropy + 0.3


def test_gradients_are_finite_also_far_out():
  z = np.array([[0.0, 0.0, 0.0, 0.0], [1e3, -1e3, 1e3, 1e3]], np.float32)
  model, variables = started(4, 1.0)
  gradients = jax.jit(jax.value_and_grad(lambda v, z: jnp.sum(model.apply(v, z)), (0, 1)))
  for parameters in (variables, jax.tree.map(np.zeros_like, variables)):
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients(parameters, z)))


@pytest.mark.parametrize(
  ("settings", "words"),
  [
    ({"z_dim": 1}, "z_dim=1 must be 2 or more"),
    ({"z_dim": 4, "layers": 1}, "layers=1 must be 2 or more"),
    ({"z_dim": 4, "width": 0}, "width=0 must be 1 or more"),
    ({"z_dim": 4, "max_log_scale": 0.0}, "max_log_scale=0.0 must be more than 0"),
  ],
)
def test_settings_that_cannot_be_are_errors(settings, words):
  with pytest.raises(ConfigError, match=words):
    CouplingFlow(**settings)
