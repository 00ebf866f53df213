"""A transformer encoder of captions (Vaswani et al. 2017), trained with the model that is given its output."""

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.types import Array


class TextEncoder(nn.Module):
  """Numbers of tokens, int32 [B, T], to a sentence vector, float32 [B, width]; 0 is padding and never changes it.

  Blocks have LayerNorm before attention and before the hidden layer (Xiong et al. 2020). Positions are sines (Vaswani
  et al. 2017, Section 3.5), so that the parameters do not depend on T. The vector is the mean over tokens after a last
  LayerNorm, and 0 without tokens.

  Attributes:
    vocabulary_size: tokens are below this number.
    width: size of a token's vector, a multiple of ``heads`` and even.
    layers: number of blocks.
    heads: number of attention heads.
  """

  vocabulary_size: int
  width: int = 128
  layers: int = 2
  heads: int = 4

  @nn.compact
  def __call__(self, tokens: Array) -> Array:
    if self.width % 2 or self.heads < 1 or self.width % self.heads:
      raise ConfigError(f"width={self.width} must be even and a multiple of heads={self.heads}; take --.width=128")
    there = tokens > 0
    mask = nn.make_attention_mask(jnp.ones_like(there), there)
    x = nn.Embed(self.vocabulary_size, self.width, name="tokens")(tokens) + _positions(tokens.shape[1], self.width)
    for _ in range(self.layers):
      attention = nn.MultiHeadDotProductAttention(self.heads, use_bias=False, deterministic=True)  # of keys it is void
      x = x + attention(nn.LayerNorm()(x), mask=mask)
      x = x + nn.Dense(self.width)(nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x))))
    weights = there[..., None].astype(jnp.float32)
    total = jnp.sum(nn.LayerNorm()(x) * weights, axis=1)
    return total / jnp.maximum(jnp.sum(weights, axis=1), 1.0)


def _positions(length: int, width: int) -> Array:
  """Returns sines and cosines of the position at wave lengths from 2 pi to 20,000 pi, [length, width]."""
  angle = jnp.arange(length)[:, None] / 10000.0 ** (jnp.arange(0, width, 2) / width)
  return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)
