"""Random draws that depend on (seed, step, row) only, not on the number of devices or the batch size.

A step's key is split by name with `stream`; row i of the global batch then draws from ``fold_in(key, i)``. No key is
stored: a checkpoint holds the step, and the step gives the key.
"""

import zlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from common.types import Array


def stream(rng: Array, name: str) -> Array:
  """Derives the key of a named stream from ``rng``; different names give independent keys."""
  return jax.random.fold_in(rng, zlib.crc32(name.encode()))


def row_keys(rng: Array, index: Array) -> Array:
  """Derives one key per row of the global batch: rng, int32 [B] -> keys [B]."""
  return jax.vmap(lambda i: jax.random.fold_in(rng, i))(index)


def row_stream(keys: Array, name: str) -> Array:
  """Derives the named stream of each row's key, keys [B] -> keys [B]."""
  return jax.vmap(lambda key: stream(key, name))(keys)


def normal(keys: Array, shape: Sequence[int]) -> Array:
  """Samples N(0, 1), keys [B] -> float32 [B, *shape]."""
  return jax.vmap(lambda key: jax.random.normal(key, tuple(shape)))(keys)


def uniform(keys: Array, shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> Array:
  """Samples U[low, high), keys [B] -> float32 [B, *shape]."""
  return jax.vmap(lambda key: jax.random.uniform(key, tuple(shape), minval=low, maxval=high))(keys)


def truncated(z: Array, bound: float) -> Array:
  """Maps N(0, 1) samples to N(0, 1) truncated to [-bound, bound], keeping each sample's quantile."""
  inside = jax.scipy.special.erf(bound / jnp.sqrt(2.0))
  # Computed from |z|: a cumulative probability close to 1 cannot resolve the tail.
  size = jax.scipy.special.erf(jnp.abs(z) / jnp.sqrt(2.0)) * inside
  return jnp.sign(z) * jnp.minimum(jnp.sqrt(2.0) * jax.scipy.special.erfinv(size), bound)


def bernoulli(keys: Array, p: Array) -> Array:
  """Samples 0 or 1 with probability p of a 1; keys [B], p [B, ...] -> float32 [B, ...]."""
  return jax.vmap(lambda key, q: jax.random.bernoulli(key, q))(keys, p).astype(jnp.float32)


def poisson(keys: Array, rate: Array) -> Array:
  """Samples whole numbers from the Poisson distribution; keys [B], rate [B, ...] -> float32 [B, ...].

  They are quantiles of the same normal draw at every rate: exact ones up to a rate of 16, above it those of the
  expansion in 1 / sqrt(rate) (Giles 2016, ACM TOMS 42), whose probabilities are wrong by less than 2e-5.
  """
  # A draw beyond, one in two million, would need probabilities more exact than float32.
  w = jnp.clip(normal(keys, rate.shape[1:]), -5.0, 5.0)
  low, u = jnp.minimum(rate, 16.0), jax.scipy.special.ndtr(w)

  number, below, term = jnp.zeros_like(u), jnp.zeros_like(u), jnp.exp(-low)
  for k in range(48):  # unrolled, one pass over memory
    below += term
    number += u > below
    term *= low / (k + 1.0)
  high = jnp.maximum(rate, 16.0)
  root = jnp.sqrt(high)
  expansion = high + root * w + (1 / 3 + w**2 / 6) + (-w / 36 - w**3 / 72) / root
  expansion += (-8 / 405 + 7 * w**2 / 810 + w**4 / 270) / high
  return jnp.where(rate > 16.0, jnp.floor(expansion), number)


def integers(keys: Array, low: int, high: int) -> Array:
  """Samples one integer in low .. high - 1 per row, keys [B] -> int32 [B]."""
  return jax.vmap(lambda key: jax.random.randint(key, (), low, high))(keys)


def categorical(keys: Array, logits: Array) -> Array:
  """k with probability softmax(logits)_k, keys [B], [K] or [B, ..., K] -> int32 [B, ...], by Gumbel's trick."""
  return jnp.argmax(logits + gumbel(keys, logits.shape[1:] or logits.shape), axis=-1).astype(jnp.int32)


def gumbel(keys: Array, shape: Sequence[int]) -> Array:
  """Samples the standard Gumbel distribution, keys [B] -> float32 [B, *shape]."""
  return -jnp.log(-jnp.log(uniform(keys, shape, low=1e-7)))
