"""A network that is given captions: an encoder of its own turns them into the values that it takes."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from common.layers.basic import with_values
from common.layers.text_encoder import TextEncoder
from common.types import Array


class Captioned(nn.Module):
  """A generator or discriminator whose given values are [1, sentence vector] of its captions.

  The vector's numbers sum to 0 at the start, as those after a LayerNorm do. Where labels have a table of scales, all 1
  at the start, the scale of a caption therefore starts at 1 too.

  Attributes:
    network: takes given values [B, 1 + width], or none if they go ``beside_z``.
    encoder: gives the sentence vectors, and learns with the network.
    beside_z: whether the values stand beside z.
  """

  network: nn.Module
  encoder: TextEncoder
  beside_z: bool = False

  def __call__(self, x: Array, *, given: Array, shift: Array | None = None, **ways: Any) -> Any:
    """Applies the network to x [B, ...] with captions int32 [B, T].

    ``shift`` [B, width] is added to the sentence vectors, for derivatives by them.
    """
    sentence = self.encoder(given)
    sentence = sentence if shift is None else sentence + shift
    values = jnp.concatenate([jnp.ones((len(sentence), 1)), sentence], axis=-1)
    return self.network(with_values(x, values), **ways) if self.beside_z else self.network(x, given=values, **ways)
