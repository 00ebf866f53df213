"""A transformer encoder of captions (Vaswani et al. 2017), trained with the model that is given its output."""

import flax.linen as nn
import jax.numpy as jnp

from common.layers.transformer import Block, check_width, sines
from common.types import Array


class TextEncoder(nn.Module):
  """Numbers of tokens, int32 [B, T], to a sentence vector, float32 [B, width]; 0 is padding and never changes it.

  Places are sines, so that the parameters do not depend on T. The vector is the mean over tokens after a last
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
    check_width(self.width, self.heads)
    there = tokens > 0
    mask = nn.make_attention_mask(jnp.ones_like(there), there)
    x = nn.Embed(self.vocabulary_size, self.width, name="tokens")(tokens) + sines(tokens.shape[1], self.width)
    for _ in range(self.layers):
      x, _ = Block(self.heads)(x, mask)
    weights = there[..., None].astype(jnp.float32)
    total = jnp.sum(nn.LayerNorm()(x) * weights, axis=1)
    return total / jnp.maximum(jnp.sum(weights, axis=1), 1.0)
