"""One network's update: gradients averaged, average kept, counters moved; and weights taken from another run."""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from common.build import ConfigError
from common.ema import NO_EMA, by_decay
from common.state import NetState, apply_gradients, init_network, transfer_weights

TX = optax.sgd(0.5, momentum=0.9)


def net_of(weight, ema=by_decay(0.9, 10.0), mutable=0.0, tx=TX):  # noqa: B008 - frozen
  params = {"w": jnp.asarray(weight, jnp.float32)}
  return NetState(
    params, {"batch_stats": {"mean": jnp.full(2, mutable)}}, tx.init(params), ema.start(params), jnp.int32(0)
  )


@pytest.mark.parametrize(("decay", "warmup"), [(0.9, 0.0), (0.9, 10.0), (0.3, 10.0)])
def test_the_average_equals_its_sum(decay, warmup):
  """a_T = sum over t of p_t (1 - d_t) prod of later d, with d_t = min(decay, (1 + t) / (warmup + t)) from a_0 = p_0."""
  ema, tx = by_decay(decay, warmup), optax.sgd(1.0)
  gradients = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
  net = net_of([1.0, -1.0], ema, tx=tx)
  path = np.array([[1.0, -1.0]]) - np.concatenate([np.zeros((1, 2)), np.cumsum(gradients, 0)])
  for gradient in gradients:
    net, _ = apply_gradients(net, {"w": jnp.asarray(gradient)}, tx, ema)
  decays = [min(decay, (1 + t) / (warmup + t)) if warmup + t else decay for t in range(6)]
  weights = [np.prod(decays)] + [(1 - decays[t]) * np.prod(decays[t + 1 :]) for t in range(6)]
  np.testing.assert_allclose(np.sum(weights), 1.0)
  np.testing.assert_allclose(net.ema_params["w"], weights @ path, rtol=1e-5)
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


def test_averaged_variables_keep_the_raw_statistics():
  net = net_of([1.0], mutable=7.0).replace(ema_params={"w": jnp.array([2.0])})
  assert net.variables()["params"]["w"] == 1.0
  assert net.variables(ema=True)["params"]["w"] == 2.0
  assert net.variables(ema=True)["batch_stats"] is net.mutable["batch_stats"]
  assert net.replace(ema_params=None).variables(ema=True)["params"]["w"] == 1.0


def test_a_fresh_network_is_its_own_average_in_other_memory():
  """The state is donated to the step: two leaves in one buffer would be an error."""
  net = init_network(nn.Dense(2), TX, by_decay(0.9, 0.0), jax.random.key(0), jnp.zeros((1, 3)))
  jax.tree.map(np.testing.assert_array_equal, net.ema_params, net.params)
  pointers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves((net.params, net.ema_params))]
  assert len(set(pointers)) == len(pointers)
  assert net.mutable == {} and int(net.updates) == 0


class Two(flax.struct.PyTreeNode):
  step: jax.Array
  a: NetState
  b: NetState


def two(a, b, step):
  return Two(jnp.int32(step), net_of(a, mutable=float(step)), net_of(b, mutable=float(step), ema=NO_EMA))


def test_transferred_weights_start_a_new_run():
  source, target = two([1.0], [2.0, 3.0], step=9), two([0.0], [0.0, 0.0], step=0)
  source = source.replace(a=source.a.replace(ema_params={"w": jnp.array([5.0])}, updates=jnp.int32(9)))
  moved = transfer_weights(source, target)
  np.testing.assert_array_equal(moved.a.params["w"], [1.0])
  np.testing.assert_array_equal(moved.b.params["w"], [2.0, 3.0])
  np.testing.assert_array_equal(moved.a.ema_params["w"], [5.0])
  np.testing.assert_array_equal(moved.a.mutable["batch_stats"]["mean"], [9.0, 9.0])
  assert moved.b.ema_params is None
  assert int(moved.step) == int(moved.a.updates) == 0


def test_weights_of_other_networks_are_refused_by_name():
  message = r"--init_from has other networks, 2 differences: a/params/w: \(3,\) -> \(1,\); b/params/w: \(1,\) -> \(2,\)"
  with pytest.raises(ConfigError, match=message):
    transfer_weights(two([0.0] * 3, [0.0], step=0), two([0.0], [0.0, 0.0], step=0))
