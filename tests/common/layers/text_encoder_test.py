"""A caption's vector: what changes it, and what must not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from common.layers.text_encoder import TextEncoder

ENCODER = TextEncoder(vocabulary_size=9, width=8, layers=2, heads=2)
TOKENS = jnp.asarray([[3, 5, 8, 0, 0, 0], [5, 3, 8, 0, 0, 0], [7, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])


@functools.cache
def variables():
  return jax.jit(ENCODER.init)(jax.random.key(0), TOKENS)


def encoded(tokens):
  return np.asarray(jax.jit(ENCODER.apply)(variables(), tokens))


def test_padding_never_changes_a_vector_and_nothing_is_zero():
  vectors = encoded(TOKENS)
  np.testing.assert_allclose(encoded(jnp.pad(TOKENS, ((0, 0), (0, 7)))), vectors, atol=1e-6)
  np.testing.assert_allclose(encoded(TOKENS[:2, :3]), vectors[:2], atol=1e-6)
  assert not vectors[3].any() and np.abs(vectors[:3]).max() > 0.1 and vectors.dtype == np.float32


def test_rows_are_independent_and_the_order_of_words_counts():
  vectors = encoded(TOKENS)
  np.testing.assert_allclose(encoded(TOKENS[1:2]), vectors[1:2], atol=1e-6)
  assert np.abs(vectors[0] - vectors[1]).max() > 0.01


def test_the_width_fits_heads_and_sines():
  with pytest.raises(ConfigError, match="width=9 must be even and a multiple of heads=3"):
    TextEncoder(9, width=9, heads=3).init(jax.random.key(0), TOKENS)
