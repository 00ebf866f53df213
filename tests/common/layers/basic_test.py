"""Dropout by row, and Maxout against its formula."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import random
from common.errors import ConfigError
from common.layers.basic import Dropout, Maxout


def rows_of(index):
  return random.row_keys(jax.random.key(0), jnp.asarray(index))


def test_a_row_has_its_mask_whatever_the_batch():
  x = jnp.ones((4, 5, 7))
  dropout = Dropout(0.5)
  y = dropout.apply({}, x, rows_of([0, 1, 2, 3]), train=True)
  np.testing.assert_array_equal(dropout.apply({}, x[:2], rows_of([3, 1]), train=True), y[jnp.array([3, 1])])
  assert len({np.asarray(row).tobytes() for row in y}) == 4


def test_scale_and_rate():
  x = jnp.full((8, 50, 50), 3.0)
  y = Dropout(0.2).apply({}, x, rows_of(range(8)), train=True)
  np.testing.assert_allclose(np.unique(y), [0.0, 3.0 / 0.8], rtol=1e-6)
  assert abs(float(jnp.mean(y == 0.0)) - 0.2) < 5 * np.sqrt(0.2 * 0.8 / y.size)
  np.testing.assert_array_equal(Dropout(0.2).apply({}, x, rows_of(range(8)), train=False), x)
  np.testing.assert_array_equal(Dropout(0.0).apply({}, x, rows_of(range(8)), train=True), x)
  with pytest.raises(ConfigError, match=r"a dropout of 1\.0"):
    Dropout(1.0).apply({}, x, rows_of(range(8)), train=True)


def test_a_dropped_value_passes_no_gradient():
  x = jnp.ones((2, 50)).at[0, :].set(jnp.inf)  # a dropped infinity is 0, not nan
  y, vjp = jax.vjp(lambda x: Dropout(0.5).apply({}, x, rows_of([0, 1]), train=True), x)
  assert not np.any(np.isnan(y))
  np.testing.assert_array_equal(vjp(jnp.ones_like(y))[0], np.where(y == 0.0, 0.0, 2.0))


class Stack(nn.Module):
  @nn.compact
  def __call__(self, x, rows):
    return Dropout(0.5)(x, rows, train=True), Dropout(0.5)(x, rows, train=True)


def test_two_layers_draw_two_masks():
  one, other = Stack().apply({}, jnp.ones((2, 100)), rows_of([0, 1]))
  assert 50 < np.sum(np.asarray(one) != np.asarray(other)) < 150
  again, _ = jax.jit(lambda x, rows: Stack().apply({}, x, rows))(jnp.ones((2, 100)), rows_of([0, 1]))
  np.testing.assert_array_equal(one, again)


def test_maxout_equals_its_formula():
  rng = np.random.default_rng(0)
  x, kernel, bias = (rng.normal(size=s).astype(np.float32) for s in [(3, 2, 6), (6, 20), (20,)])
  module, variables = Maxout(4, pieces=5), {"params": {"Dense_0": {"kernel": kernel, "bias": bias}}}
  shapes = jax.eval_shape(module.init, jax.random.key(0), x)
  assert jax.tree.map(np.shape, shapes) == jax.tree.map(np.shape, variables)
  y = module.apply(variables, x)
  pieces = [x @ kernel[:, 4 * j : 4 * j + 4] + bias[4 * j : 4 * j + 4] for j in range(5)]
  np.testing.assert_allclose(y, np.max(pieces, axis=0), atol=1e-5)
