"""The block of all transformers here, for captions and for codes (Vaswani et al. 2017, arXiv:1706.03762)."""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from common.errors import ConfigError
from common.layers.basic import Dropout
from common.types import Array

Cache = tuple[Array, Array]  # keys and values of all places, [B, S, heads, width / heads] each


class Block(nn.Module):
  """Attention, then a hidden layer of four times the width; each adds to x what it makes of a LayerNorm of x.

  LayerNorm comes before, as in Xiong et al. 2020 (arXiv:2002.04745). Attention has no biases: that of keys is void.

  Attributes:
    heads: number of attention heads.
    dropout: share of the values that both parts would add and that are dropped in training.
  """

  heads: int
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self, x: Array, mask: Array, cache: Cache | None = None, place: Array | int = 0, keys: Array | None = None
  ) -> tuple[Array, Cache]:
    """Maps x [B, T, D] to [B, T, D].

    Args:
      x: vectors of T places.
      mask: whether a place sees another one, broadcast to [B, heads, T, S].
      cache: keys and values of S places, into which those of x go from ``place`` on; None: S is T.
      place: the first place of x in the cache.
      keys: [B], for dropout; None outside training.

    Returns:
      The new vectors; and keys and values of all S places.
    """
    width, train = x.shape[-1], keys is not None
    h = nn.LayerNorm()(x)
    shape = (self.heads, width // self.heads)
    query, *own = (nn.DenseGeneral(shape, use_bias=False, name=name)(h) for name in ("query", "key", "value"))
    if cache is not None:
      own = [lax.dynamic_update_slice_in_dim(old, new, place, axis=1) for old, new in zip(cache, own, strict=True)]
    seen = nn.dot_product_attention(query, *own, mask=mask)
    added = nn.DenseGeneral(width, axis=(-2, -1), use_bias=False, name="out")(seen)
    x = x + Dropout(self.dropout)(added, keys, train=train)
    added = nn.Dense(width)(nn.gelu(nn.Dense(4 * width)(nn.LayerNorm()(x))))
    return x + Dropout(self.dropout)(added, keys, train=train), (own[0], own[1])


def sines(length: int, width: int) -> Array:
  """Returns sines and cosines of the place at wave lengths from 2 pi to 20,000 pi, [length, width] (Section 3.5)."""
  angle = jnp.arange(length)[:, None] / 10000.0 ** (jnp.arange(0, width, 2) / width)
  return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def check_width(width: int, heads: int) -> None:
  """Raises ConfigError unless heads and `sines` divide the width."""
  if width < 2 or width % 2 or heads < 1 or width % heads:
    raise ConfigError(f"width={width} must be even and a multiple of heads={heads}; take --.width=128 and --.heads=4")
