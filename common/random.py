"""Randomness that depends on (seed, step, row) only: the same on any number of devices and for any batch size.

A step's key is split by name with `stream`; row i of the global batch then draws from ``fold_in(key, i)``. No key is
stored: a checkpoint holds the step, and the step gives the key.
"""

import zlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from common.types import Array


def stream(rng: Array, name: str) -> Array:
  """The key of the named stream of ``rng``; other names give independent keys."""
  return jax.random.fold_in(rng, zlib.crc32(name.encode()))


def row_keys(rng: Array, index: Array) -> Array:
  """One key for each row of the global batch: rng, int32 [B] -> keys [B]."""
  return jax.vmap(lambda i: jax.random.fold_in(rng, i))(index)


def row_stream(rows: Array, name: str) -> Array:
  """The named stream of each row's key, keys [B] -> keys [B]."""
  return jax.vmap(lambda key: stream(key, name))(rows)


def normal(rows: Array, shape: Sequence[int]) -> Array:
  """N(0, 1) draws, keys [B] -> float32 [B, *shape]."""
  return jax.vmap(lambda key: jax.random.normal(key, tuple(shape)))(rows)


def uniform(rows: Array, shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> Array:
  """U[low, high) draws, keys [B] -> float32 [B, *shape]."""
  return jax.vmap(lambda key: jax.random.uniform(key, tuple(shape), minval=low, maxval=high))(rows)


def truncated(z: Array, bound: float) -> Array:
  """N(0, 1) draws -> N(0, 1) draws of at most ``bound`` in size, each the same quantile of its distribution."""
  inside = jax.scipy.special.erf(bound / jnp.sqrt(2.0))
  # By the distance from 0: next to 1, a cumulative probability has no digits left for the tail.
  size = jax.scipy.special.erf(jnp.abs(z) / jnp.sqrt(2.0)) * inside
  return jnp.sign(z) * jnp.minimum(jnp.sqrt(2.0) * jax.scipy.special.erfinv(size), bound)


def bernoulli(rows: Array, p: Array) -> Array:
  """Draws of 0 or 1 with probabilities p, keys [B], [B, ...] -> float32 [B, ...]."""
  return jax.vmap(lambda key, q: jax.random.bernoulli(key, q))(rows, p).astype(jnp.float32)


def integers(rows: Array, low: int, high: int) -> Array:
  """One integer of low .. high - 1 for each row, keys [B] -> int32 [B]."""
  return jax.vmap(lambda key: jax.random.randint(key, (), low, high))(rows)
