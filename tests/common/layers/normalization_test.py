"""BatchNorm against numpy, and in the three states of its statistics; tests/parallel_test.py has it on devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.layers.normalization import BatchNorm


def example(shape=(16, 3, 3, 4), offset=0.0):
  """x with another mean and width in each channel, and variables with statistics that are not the initial ones."""
  rng = np.random.default_rng(0)
  channels = np.arange(1.0, shape[-1] + 1)
  x = jnp.asarray(rng.normal(size=shape) * channels - channels + offset, jnp.float32)
  c = (shape[-1],)
  params = {"scale": rng.normal(size=c), "bias": rng.normal(size=c)}
  stats = {"mean": rng.normal(size=c), "var": rng.uniform(1.0, 2.0, size=c)}
  return x, jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), {"params": params, "batch_stats": stats})


def normalized(x, mean, var, params, epsilon):
  return (x - mean) / np.sqrt(var + epsilon) * np.asarray(params["scale"]) + np.asarray(params["bias"])


@pytest.mark.parametrize("shape", [(16, 3, 3, 4), (16, 4)])
def test_training_equals_numpy(shape):
  x, variables = example(shape)
  y, updated = BatchNorm(momentum=0.9, epsilon=0.1).apply(variables, x, train=True, mutable=["batch_stats"])
  rows = np.asarray(x, np.float64).reshape(-1, shape[-1])
  mean, var = rows.mean(0), rows.var(0)
  np.testing.assert_allclose(y, normalized(np.asarray(x), mean, var, variables["params"], 0.1), atol=1e-5)
  old = variables["batch_stats"]
  np.testing.assert_allclose(updated["batch_stats"]["mean"], 0.9 * old["mean"] + 0.1 * mean, rtol=1e-5)
  np.testing.assert_allclose(updated["batch_stats"]["var"], 0.9 * old["var"] + 0.1 * var, rtol=1e-5)


def test_variance_survives_a_large_mean():
  x, variables = example(offset=1e4)  # float32 squares of it are good to about 8; the variances are 1 to 16
  y, _ = BatchNorm().apply(variables, x, train=True, mutable=["batch_stats"])
  rows = np.asarray(x, np.float64)
  expected = normalized(rows, rows.mean((0, 1, 2)), rows.var((0, 1, 2)), variables["params"], 1e-3)
  np.testing.assert_allclose(y, expected, atol=5e-3)


def test_evaluation_uses_running_statistics_and_leaves_them():
  x, variables = example()
  y, updated = BatchNorm(epsilon=0.1).apply(variables, x, train=False, mutable=["batch_stats"])
  stats = variables["batch_stats"]
  expected = normalized(np.asarray(x), stats["mean"], stats["var"], variables["params"], 0.1)
  np.testing.assert_allclose(y, expected, atol=1e-5)
  jax.tree.map(np.testing.assert_array_equal, updated["batch_stats"], stats)
  moved, _ = BatchNorm().apply(variables, x, train=True, mutable=["batch_stats"])
  np.testing.assert_array_equal(BatchNorm().apply(variables, x, train=True), moved)  # frozen; it raises if it writes


def test_init_creates_and_does_not_move():
  x, _ = example()
  variables = BatchNorm(use_bias=False).init(jax.random.key(0), x, train=True)
  assert set(variables["params"]) == {"scale"}
  np.testing.assert_array_equal(variables["batch_stats"]["mean"], np.zeros(4))
  np.testing.assert_array_equal(variables["batch_stats"]["var"], np.ones(4))
  assert "params" not in BatchNorm(use_bias=False, use_scale=False).init(jax.random.key(0), x, train=True)


def test_statistics_of_bfloat16_are_float32():
  x, variables = example()
  y, updated = BatchNorm().apply(variables, x.astype(jnp.bfloat16), train=True, mutable=["batch_stats"])
  assert y.dtype == jnp.bfloat16
  assert updated["batch_stats"]["var"].dtype == jnp.float32
  assert BatchNorm(dtype=jnp.float32).apply(variables, x.astype(jnp.bfloat16), train=False).dtype == jnp.float32


def test_labels_change_nothing_at_the_start():
  """Scales start at 1. From a bare linear map of the label, as in compare_gan, they would start near 0."""
  x, _ = example()
  given = jax.nn.one_hot(jnp.arange(16) % 3, 3)
  module = plain = BatchNorm()
  variables = module.init(jax.random.key(0), x, given=given, train=True)
  assert jax.tree.map(jnp.shape, variables["params"]) == {"scale": (3, 4), "bias": (3, 4)}
  expected, stats = plain.apply(plain.init(jax.random.key(0), x, train=True), x, train=True, mutable=["batch_stats"])
  actual, updated = module.apply(variables, x, train=True, given=given, mutable=["batch_stats"])
  np.testing.assert_array_equal(actual, expected)
  jax.tree.map(np.testing.assert_array_equal, updated, stats)
  np.testing.assert_allclose(np.std(actual, (0, 1, 2)), 1.0, atol=1e-2)


@pytest.mark.parametrize("shape", [(16, 3, 3, 4), (16, 4)])
def test_a_label_has_its_own_scale_and_bias_under_shared_statistics(shape):
  x, variables = example(shape)
  labels = np.random.default_rng(1).integers(0, 3, 16)
  scale, bias = np.random.default_rng(2).normal(size=(2, 3, 4)).astype(np.float32)
  module, variables = BatchNorm(epsilon=0.1), {**variables, "params": {"scale": scale, "bias": bias}}
  rows = np.asarray(x, np.float64).reshape(-1, 4)
  for train, mean, var in ((True, rows.mean(0), rows.var(0)), (False, *variables["batch_stats"].values())):
    expected = [
      normalized(one, mean, var, {"scale": scale[y], "bias": bias[y]}, 0.1)
      for one, y in zip(np.asarray(x), labels, strict=True)
    ]
    np.testing.assert_allclose(module.apply(variables, x, train=train, given=np.eye(3)[labels]), expected, atol=1e-5)


def test_gradient_equals_the_closed_form():
  """dx = scale / sqrt(var + eps) * (g - mean(g) - x^ mean(g x^)) of Ioffe & Szegedy 2015, section 3, in one line."""
  x, variables = example((32, 4))
  g = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
  dx = jax.jit(jax.grad(lambda x: jnp.sum(g * BatchNorm(epsilon=0.1).apply(variables, x, train=True))))(x)
  std = np.sqrt(np.var(x, 0) + 0.1)
  unit = (x - np.mean(x, 0)) / std
  expected = variables["params"]["scale"] / std * (g - np.mean(g, 0) - unit * np.mean(g * unit, 0))
  np.testing.assert_allclose(dx, expected, atol=1e-5)
