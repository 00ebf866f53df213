"""Finite scalar quantization by hand: its levels, gradient, numbers of codes and use of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from tests.vae.tiny_model import keys_of
from vae.codes import codes_in_use, perplexity
from vae.posteriors.finite_scalar import FiniteScalar

LEVELS = (2, 5, 4)
MODULE = FiniteScalar(levels=LEVELS)
STATS = 3.0 * np.random.default_rng(0).normal(size=(64, 12)).astype(np.float32)


@functools.cache
def draw():
  return jax.jit(lambda stats: MODULE.apply({}, stats, keys_of(64), train=True))(STATS)


def test_every_number_has_its_levels_from_the_first_to_the_last():
  """Odd ones are even around 0; of even ones there is one more below it."""
  z = np.asarray(draw().z).reshape(-1, 3)
  expected = ([-1, 0], [-1, -0.5, 0, 0.5, 1], [-1, -0.5, 0, 0.5])
  for values, levels in zip(z.T, expected, strict=True):
    np.testing.assert_array_equal(np.unique(values), levels)  # to the last bit
  ends = MODULE.apply({}, jnp.asarray([[-99.0] * 3, [99.0] * 3]), keys_of(2), train=False).z
  np.testing.assert_array_equal(ends, [[-1, -1, -1], [0, 1, 0.5]])
  assert not draw().penalties and not np.any(draw().log_q)


def test_a_level_is_as_wide_as_the_tanh_has_it():
  """Of five levels, atanh((k + 0.5) / (2 (1 - 0.001))) is the edge between level k and the next."""
  edges = np.arctanh((np.arange(-2, 2) + 0.5) / (2 * 0.999))
  module = FiniteScalar(levels=(5,))
  for edge, below in zip(edges, (-1, -0.5, 0, 0.5), strict=True):
    z = module.apply({}, jnp.asarray([[edge - 1e-3], [edge + 1e-3]]), keys_of(2), train=False).z
    np.testing.assert_array_equal(z[:, 0], [below, below + 0.5])


def test_the_gradient_passes_the_rounding():
  """It is that of the tanh, in units of z."""
  weight = np.random.default_rng(1).normal(size=STATS.shape).astype(np.float32)
  found = jax.grad(lambda stats: jnp.sum(weight * MODULE.apply({}, stats, keys_of(64), train=True).z))(STATS)
  levels = np.tile(LEVELS, 4)
  reach = (levels - 1) * 0.999 / 2
  shift = np.tan(np.where(levels % 2, 0, 0.5) / reach)
  np.testing.assert_allclose(found, weight * reach / (levels // 2) / np.cosh(STATS + shift) ** 2, rtol=1e-3, atol=1e-6)


def test_numbers_of_codes_and_their_values_belong_together():
  every = np.arange(40).reshape(10, 4)
  z = MODULE.apply({}, every, method="lookup")
  assert len(np.unique(np.asarray(z).reshape(-1, 3), axis=0)) == MODULE.num_codes == 40
  np.testing.assert_array_equal(MODULE.apply({}, z, method="codes_of"), every)
  codes = MODULE.apply({}, STATS, method="codes")
  np.testing.assert_array_equal(MODULE.apply({}, codes, method="lookup"), draw().z)


def test_usage_is_the_share_of_positions():
  codes, usage = np.asarray(MODULE.apply({}, STATS, method="codes")), np.asarray(draw().figures["code_usage"])
  np.testing.assert_allclose(usage, [np.bincount(row, minlength=40) / 4 for row in codes])
  whole = np.bincount(codes.ravel(), minlength=40) / codes.size
  assert codes_in_use(usage.mean(axis=0)) == np.sum(whole > 0)
  entropy = -np.sum(whole[whole > 0] * np.log(whole[whole > 0]))
  np.testing.assert_allclose(perplexity(usage.mean(axis=0)), np.exp(entropy), rtol=1e-5)


def test_levels_that_cannot_be_are_refused():
  for levels in ((), (3, 1)):
    with pytest.raises(ConfigError, match=r"levels=\(.*\) must be numbers of 2 or more"):
      FiniteScalar(levels=levels)
  with pytest.raises(ConfigError, match="z_dim=7 is not a multiple of code_dim=3"):
    MODULE.num_stats(7)
