"""Penalties on slopes: closed forms, where they look, and their derivatives for the critic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from scipy.special import expit

from common import random
from common.build import build_each
from common.errors import ConfigError
from common.parallel import make_mesh
from gan.penalties import PENALTIES, R1, R2, Dragan, GradientPenalty, Seen

SHAPE = (6, 4, 3, 2)
RNG = np.random.default_rng(0)
REAL, FAKE = (jnp.asarray(RNG.normal(size=SHAPE), jnp.float32) for _ in range(2))
KEYS = random.row_keys(jax.random.key(0), jnp.arange(6))


def linear(w):
  """D(x) = sum(w x)."""
  return lambda x: jnp.sum(x * w, axis=(1, 2, 3))


def see(critic, real=REAL, fake=FAKE, keys=KEYS, axis_name=None):
  """The arguments of a penalty for a critic that is a plain function, without augmentation."""
  return Seen(lambda x, half="real": critic(x), real, fake, keys[: len(real)], axis_name)


def value(penalty, seen, updates=0):
  """The weighted penalty at an update of D."""
  return penalty.weighted(seen, jnp.int32(updates))


@pytest.mark.parametrize(("scale", "target"), [(0.1, 1.0), (2.0, 1.0), (0.5, 0.0)])
def test_a_linear_critic_has_one_slope_everywhere(scale, target):
  """weight * (|w| - target)^2, from below and from above; its derivative 2 * weight * (|w| - target) * w / |w|."""
  w = scale * RNG.normal(size=SHAPE[1:])
  norm, penalty = np.sqrt(np.sum(w**2)), GradientPenalty(weight=10.0, target=target)
  np.testing.assert_allclose(value(penalty, see(linear(w))), np.full(6, 10.0 * (norm - target) ** 2), rtol=1e-5)
  gradient = jax.grad(lambda w: jnp.mean(value(penalty, see(linear(w)))))(jnp.asarray(w, jnp.float32))
  np.testing.assert_allclose(gradient, 20.0 * (norm - target) * w / norm, rtol=1e-4)


def test_each_pair_has_one_point_of_its_own_between_its_images():
  def critic(x):
    return 0.5 * jnp.sum(x**2, axis=(1, 2, 3))  # its gradient is x

  penalty = value(GradientPenalty(weight=2.0), see(critic))
  points = np.asarray(jax.lax.stop_gradient(random.uniform(KEYS, (1, 1, 1)) * (REAL - FAKE) + FAKE))
  np.testing.assert_allclose(penalty, 2.0 * (np.sqrt(np.sum(points**2, axis=(1, 2, 3))) - 1) ** 2, rtol=1e-4)
  mix = np.asarray((points - FAKE) / (REAL - FAKE)).reshape(6, -1)
  assert np.all((mix > -1e-4) & (mix < 1 + 1e-4))
  assert np.ptp(mix, axis=1).max() < 1e-2 and np.ptp(mix[:, 0]) > 0.2
  few = value(GradientPenalty(weight=2.0), see(critic, REAL[3:5], FAKE[3:5], keys=KEYS[3:5]))
  np.testing.assert_allclose(few, penalty[3:5], rtol=1e-5)


def test_a_flat_critic_gives_no_nan():
  """At slope 0 the norm has no derivative; the penalty takes 0 and is weight * target^2."""
  penalty = GradientPenalty()
  mean, gradient = jax.value_and_grad(lambda w: jnp.mean(value(penalty, see(linear(w)))))(jnp.zeros(SHAPE[1:]))
  np.testing.assert_allclose(mean, 10.0)
  np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize(
  ("section", "message"),
  [
    ({"gradient_penlty": {}}, r'config\.penalties="gradient_penlty" is not one of .*did you mean "gradient_penalty"'),
    ({"gradient_penalty": 10.0}, r"config\.penalties\.gradient_penalty=10\.0 is not a section"),
    ({"gradient_penalty": {"weight": 0.0}}, r"config\.penalties\.gradient_penalty: weight=0\.0 must be above 0"),
    ({"r2": {"every": 0}}, r"every=0 must be 1 or more"),
    ({"dragan": {"spread": 0.0}}, r"spread=0\.0 above 0"),
    ({"gradient_penalty": {"target": -1.0}}, r"config\.penalties\.gradient_penalty: target=-1\.0 must be 0 or more"),
  ],
)
def test_a_wrong_section_is_named(section, message):
  with pytest.raises(ConfigError, match=message):
    build_each(PENALTIES, section, "penalties")


@pytest.mark.parametrize(("penalty", "at"), [(R1(weight=6.0), REAL), (R2(weight=6.0), FAKE)])
def test_zero_centred_penalties_are_half_the_squared_slope(penalty, at):
  """gamma / 2 * |w|^2 of a linear critic; gamma / 2 * |x|^2 of |x|^2 / 2, at real or at generated images only."""
  w = RNG.normal(size=SHAPE[1:])
  np.testing.assert_allclose(value(penalty, see(linear(w))), np.full(6, 3.0 * np.sum(w**2)), rtol=1e-5)
  quadratic = value(penalty, see(lambda x: 0.5 * jnp.sum(x**2, axis=(1, 2, 3))))
  np.testing.assert_allclose(quadratic, 3.0 * jnp.sum(at**2, axis=(1, 2, 3)), rtol=1e-5)
  gradient = jax.grad(lambda w: jnp.mean(value(penalty, see(linear(w)))))(jnp.asarray(w, jnp.float32))
  np.testing.assert_allclose(gradient, 6.0 * w, rtol=1e-5)


def test_a_weight_may_be_a_schedule_of_updates():
  penalty = R1(weight={"name": "linear", "start": 2.0, "end": 0.5, "steps": 10})
  for updates, weight in ((0, 2.0), (5, 1.25), (20, 0.5)):
    found = value(penalty, see(linear(1.0)), updates)
    np.testing.assert_allclose(found, np.full(6, 0.5 * weight * 24), rtol=1e-6)


def test_dragan_looks_near_real_images_within_the_spread_of_the_batch():
  """The slope of |x - 3|^2 / 2 tells where it looked: between x and x + spread * s * U[0, 1) in each pixel."""
  looked = []

  def critic(x):
    looked.append(x.primal if hasattr(x, "primal") else x)
    return 0.5 * jnp.sum((x - 3.0) ** 2, axis=(1, 2, 3))

  with jax.disable_jit():
    penalty = value(Dragan(weight=2.0, spread=0.5), see(critic))
  points = np.asarray(jax.lax.stop_gradient(looked[0]))
  shift, limit = points - np.asarray(REAL), 0.5 * np.std(REAL)
  assert shift.min() >= 0 and 0.5 * limit < shift.max() < limit
  shares = shift.reshape(6, -1) / limit
  # Each pixel has noise of its own, and each image one share of the way.
  assert np.ptp(shares / shares.max(axis=1, keepdims=True), axis=1).min() > 0.5
  assert shares.max(axis=1).min() < 0.2 and shares.max(axis=1).max() > 0.5
  np.testing.assert_allclose(penalty, 2.0 * (np.sqrt(np.sum((points - 3.0) ** 2, axis=(1, 2, 3))) - 1) ** 2, rtol=1e-4)


def test_dragan_of_the_sigmoid():
  """The slope of s(w x) is s (1 - s) |w|, here at the images themselves."""
  w = 0.3 * RNG.normal(size=SHAPE[1:])
  found = value(Dragan(weight=2.0, spread=1e-6, sigmoid=True), see(linear(w)))
  s = expit(np.sum(np.asarray(REAL) * w, axis=(1, 2, 3)))
  np.testing.assert_allclose(found, 2.0 * (s * (1 - s) * np.sqrt(np.sum(w**2)) - 1) ** 2, rtol=1e-4)


def test_dragans_spread_is_that_of_all_devices():
  def critic(x):
    return 0.5 * jnp.sum(x**2, axis=(1, 2, 3))

  real = jnp.concatenate([REAL[:4] * 0.1, REAL[:4] * 5.0])
  keys = random.row_keys(jax.random.key(1), jnp.arange(8))

  def on(real, keys, axis_name):
    return value(Dragan(), see(critic, real, real, keys, axis_name))

  def on_devices(real, keys):
    return on(real, keys, "data")

  rows = PartitionSpec("data")
  split = jax.shard_map(on_devices, mesh=make_mesh(8), in_specs=(rows, rows), out_specs=rows, check_vma=False)
  np.testing.assert_allclose(jax.jit(split)(real, keys), on(real, keys, None), rtol=1e-5)
