"""One network's update: gradients averaged, average kept, counters moved; and weights taken from another run."""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from common.ema import NO_EMA, by_decay
from common.errors import ConfigError
from common.evaluation.metrics.frechet import Moments, frechet_distance
from common.layers.normalization import BatchNorm
from common.state import NetState, apply_gradients, init_network, transfer_weights

TX = optax.sgd(0.5, momentum=0.9)


def net_of(weight, ema=by_decay(0.9, 10.0), mutable=0.0, tx=TX):  # noqa: B008 - frozen
  params = {"w": jnp.asarray(weight, jnp.float32)}
  statistics = {"batch_stats": {"mean": jnp.full(2, mutable)}}
  return NetState(params, statistics, tx.init(params), ema.start(params), ema.start(statistics), jnp.int32(0))


@pytest.mark.parametrize(
  ("decay", "warmup", "start"), [(0.9, 0.0, 0), (0.9, 10.0, 0), (0.3, 10.0, 0), (0.9, 0.0, 3), (0.9, 10.0, 3)]
)
def test_the_average_equals_its_sum(decay, warmup, start):
  """a_T = sum over t of p_t (1 - d_t) prod of later d, from a_0 = p_0; and that of the statistics is of the same d.

  d_t = min(decay, (1 + s) / (warmup + s)) with s = t - start, and 0 before.
  """
  ema, tx = by_decay(decay, warmup, start), optax.sgd(1.0)
  gradients, means = np.random.default_rng(0).normal(size=(2, 6, 2)).astype(np.float32)
  net = net_of([1.0, -1.0], ema, tx=tx)
  path = np.array([[1.0, -1.0]]) - np.concatenate([np.zeros((1, 2)), np.cumsum(gradients, 0)])
  for t, (gradient, mean) in enumerate(zip(gradients, means, strict=True)):
    net, _ = apply_gradients(
      net, {"w": jnp.asarray(gradient)}, tx, ema, mutable={"batch_stats": {"mean": jnp.asarray(mean)}}
    )
    if t < start:
      np.testing.assert_array_equal(net.ema_params["w"], net.params["w"])
  since = [t - start for t in range(6)]
  decays = [0.0 if s < 0 else min(decay, (1 + s) / (warmup + s)) if warmup + s else decay for s in since]
  weights = [np.prod(decays)] + [(1 - decays[t]) * np.prod(decays[t + 1 :]) for t in range(6)]
  np.testing.assert_allclose(np.sum(weights), 1.0)
  np.testing.assert_allclose(net.ema_params["w"], weights @ path, rtol=1e-5)
  expected = weights @ np.concatenate([np.zeros((1, 2)), means])
  np.testing.assert_allclose(net.ema_mutable["batch_stats"]["mean"], expected, rtol=1e-5)
  np.testing.assert_allclose(net.params["w"], path[-1], rtol=1e-5)
  assert int(net.updates) == 6


def test_an_update_keeps_or_takes_collections_and_reports_norms():
  net = net_of([3.0, 4.0])
  gradient = {"w": jnp.array([3.0, 4.0])}
  kept, norms = apply_gradients(net, gradient, TX, NO_EMA)
  assert kept.mutable is net.mutable and kept.ema_params is None
  assert {name: (float(m.total), float(m.count)) for name, m in norms.items()} == {
    "grad_norm": (5.0, 1.0),
    "update_norm": (2.5, 1.0),
    "param_norm": (5.0, 1.0),
  }
  _, later = apply_gradients(kept, gradient, TX, NO_EMA)
  assert {(float(m.total), float(m.count)) for m in later.values()} == {(0.0, 0.0)}
  taken, _ = apply_gradients(net, gradient, TX, NO_EMA, mutable={"batch_stats": {"mean": jnp.ones(2)}})
  np.testing.assert_array_equal(taken.mutable["batch_stats"]["mean"], [1.0, 1.0])


def test_gradients_and_collections_are_averaged_over_devices():
  net, gradients = net_of([1.0]), jnp.arange(4.0)[:, None]
  mutable = {"batch_stats": {"mean": gradients}}

  def step(gradient, mutable):
    return apply_gradients(net, {"w": gradient}, TX, NO_EMA, mutable=mutable, axis_name="i")

  each, norms = jax.vmap(step, axis_name="i")(gradients, mutable)
  np.testing.assert_allclose(each.params["w"], np.full((4, 1), 1.0 - 0.5 * 1.5))
  np.testing.assert_allclose(each.mutable["batch_stats"]["mean"], np.full((4, 1), 1.5))
  np.testing.assert_allclose(norms["grad_norm"].total, np.full(4, 1.5))


def test_averaged_weights_go_with_averaged_statistics():
  net, average = net_of([1.0], mutable=7.0), {"batch_stats": {"mean": jnp.zeros(2)}}
  net = net.replace(ema_params={"w": jnp.array([2.0])}, ema_mutable=average)
  assert net.variables() == {"params": net.params, **net.mutable}
  assert net.variables(ema=True) == {"params": net.ema_params, **average}
  none = net.replace(ema_params=None, ema_mutable=None)
  assert none.variables(ema=True) == none.variables()
  given = net.with_collection("batch_stats", {"mean": jnp.ones(2)})
  for ema in (False, True):
    np.testing.assert_array_equal(given.variables(ema=ema)["batch_stats"]["mean"], [1.0, 1.0])
  assert none.with_collection("batch_stats", {}).ema_mutable is None


class Normalized(nn.Module):
  @nn.compact
  def __call__(self, z, *, train):
    h = nn.Dense(4, use_bias=False)(z)
    return BatchNorm(momentum=0.9, use_scale=False, use_bias=False)(h, train=train)


def test_averaging_leaves_the_distribution_of_pictures_where_it_is():
  """Weights that only grow are, under BatchNorm, one function: so must their average be, by the Frechet distance."""
  module, ema, tx = Normalized(), by_decay(0.95, 0.0), optax.sgd(0.02)
  z = jax.random.normal(jax.random.key(0), (2000, 6))
  net = init_network(module, tx, ema, jax.random.key(1), z, train=True)

  def step(net, _):
    variables = {"params": net.params, **net.mutable}
    _, mutable = module.apply(variables, z, train=True, mutable=["batch_stats"])
    grads = jax.tree.map(jnp.negative, net.params)  # each step makes them 2 % larger
    return apply_gradients(net, grads, tx, ema, mutable=mutable)[0], None

  net, _ = jax.lax.scan(step, net, length=150)

  def pictures(variables):
    return Moments.of(module.apply(variables, z, train=False)).gaussian()

  raw, averaged = pictures(net.variables()), pictures(net.variables(ema=True))
  mixed = pictures({"params": net.ema_params, **net.mutable})
  assert frechet_distance(raw, mixed) > 0.1
  assert frechet_distance(raw, averaged) < 0.02


def test_a_fresh_network_is_its_own_average_in_other_memory():
  """The state is donated to the step: two leaves in one buffer would be an error."""
  net = init_network(nn.Dense(2), TX, by_decay(0.9, 0.0), jax.random.key(0), jnp.zeros((1, 3)))
  jax.tree.map(np.testing.assert_array_equal, net.ema_params, net.params)
  pointers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves((net.params, net.ema_params))]
  assert len(set(pointers)) == len(pointers)
  assert net.mutable == net.ema_mutable == {} and int(net.updates) == 0


class Two(flax.struct.PyTreeNode):
  step: jax.Array
  a: NetState
  b: NetState


def two(a, b, step):
  return Two(jnp.int32(step), net_of(a, mutable=float(step)), net_of(b, mutable=float(step), ema=NO_EMA))


def test_transferred_weights_start_a_new_run():
  source, target = two([1.0], [2.0, 3.0], step=9), two([0.0], [0.0, 0.0], step=0)
  average = {"batch_stats": {"mean": jnp.full(2, 4.0)}}
  averaged = source.a.replace(ema_params={"w": jnp.array([5.0])}, ema_mutable=average, updates=jnp.int32(9))
  source = source.replace(a=averaged)
  moved, differences = transfer_weights(source, target)
  np.testing.assert_array_equal(moved.a.params["w"], [1.0])
  np.testing.assert_array_equal(moved.b.params["w"], [2.0, 3.0])
  np.testing.assert_array_equal(moved.a.ema_params["w"], [5.0])
  np.testing.assert_array_equal(moved.a.mutable["batch_stats"]["mean"], [9.0, 9.0])
  np.testing.assert_array_equal(moved.a.ema_mutable["batch_stats"]["mean"], [4.0, 4.0])
  assert moved.b.ema_params is moved.b.ema_mutable is None
  unaveraged = source.replace(a=source.a.replace(ema_params=None, ema_mutable=None))
  fresh = transfer_weights(unaveraged, target)[0].a
  assert fresh.ema_params["w"] == 1.0 and fresh.ema_mutable["batch_stats"]["mean"][0] == 9.0
  assert int(moved.step) == int(moved.a.updates) == 0 and differences == []


class One(flax.struct.PyTreeNode):
  step: jax.Array
  net: NetState


def test_the_only_network_of_a_source_becomes_the_one_whose_arrays_have_its_names():
  """A regression's network becomes a GAN's generator, here the second, and the discriminator starts fresh."""
  target = two([0.0], [0.0, 0.0], step=0)
  target = target.replace(a=target.a.replace(params={"other": jnp.zeros(1)}))
  source = One(jnp.int32(9), net_of([2.0, 3.0], mutable=9.0))
  moved, differences = transfer_weights(source, target)
  np.testing.assert_array_equal(moved.b.params["w"], [2.0, 3.0])
  np.testing.assert_array_equal(moved.b.mutable["batch_stats"]["mean"], [9.0, 9.0])
  assert moved.a is target.a and differences == []
  with pytest.raises(ConfigError, match=r"1 differences: b/params/w: \(3,\) -> \(2,\)"):
    transfer_weights(source.replace(net=net_of([1.0] * 3, mutable=0.0)), target)
  with pytest.raises(ConfigError, match="has other networks, 6 differences"):
    transfer_weights(source, target.replace(b=target.b.replace(params={"other": jnp.zeros(1)})))


def test_weights_of_other_networks_are_refused_by_name():
  message = r"--init_from has other networks, 2 differences: a/params/w: \(3,\) -> \(1,\); b/params/w: \(1,\) -> \(2,\)"
  with pytest.raises(ConfigError, match=message):
    transfer_weights(two([0.0] * 3, [0.0], step=0), two([0.0], [0.0, 0.0], step=0))


def test_what_fits_is_taken_where_that_is_allowed():
  source, target = two([1.0] * 3, [2.0, 3.0], step=9), two([0.0], [0.0, 0.0], step=0)
  moved, differences = transfer_weights(source, target, partly=True)
  assert differences == ["a/params/w: (3,) -> (1,)"]
  np.testing.assert_array_equal(moved.a.params["w"], [0.0])
  np.testing.assert_array_equal(moved.a.ema_params["w"], [0.0])
  np.testing.assert_array_equal(moved.b.params["w"], [2.0, 3.0])
  np.testing.assert_array_equal(moved.a.mutable["batch_stats"]["mean"], [9.0, 9.0])
  other = Two(jnp.int32(0), net_of([1.0] * 3, mutable=0.0), net_of([1.0], mutable=0.0))
  strange = other.replace(a=other.a.replace(mutable={}, ema_mutable={}), b=other.b.replace(mutable={}, ema_mutable={}))
  with pytest.raises(ConfigError, match="has other networks, 4 differences"):
    transfer_weights(strange, target, partly=True)
