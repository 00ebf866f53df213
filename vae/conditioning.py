"""The values that a VAE's networks are given beside images and latents, made from the rows of a batch."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from common import random
from common.data.tokenizer import UNKNOWN
from common.errors import ConfigError
from common.layers.text_encoder import TextEncoder
from common.types import Array, Given


class Values(NamedTuple):
  """What each network is given, [B, K], or None."""

  encoder: Array | None = None
  decoder: Array | None = None


class Unconditional(nn.Module):
  """p(x): the model is given nothing."""

  rows = ()

  def __call__(self, given: Given, keys: Array | None = None) -> Values:
    return Values()


class Label(nn.Module):
  """p(x|label): one-hot values beside the encoder's x and the decoder's z (Sohn et al. 2015; p(z) has no label)."""

  rows = ("label",)
  num_classes: int

  def __call__(self, given: Given, keys: Array | None = None) -> Values:
    """Maps {"label": int32 [B]} to one-hot values."""
    assert given is not None
    values = jax.nn.one_hot(given["label"], self.num_classes)
    return Values(values, values)


class Text(nn.Module):
  """p(x|caption): a sentence vector beside the decoder's z; q(z|x) sees the image alone, and p(z) no caption.

  Attributes:
    vocabulary: the token of each number.
    width: size of the sentence vector.
    layers: blocks of the encoder of captions.
    heads: attention heads in each block.
    dropout: share of the words that count as unknown in training, so that z learns what a caption leaves open.
  """

  rows = ("text",)
  vocabulary: tuple[str, ...]
  width: int = 128
  layers: int = 2
  heads: int = 4
  dropout: float = 0.1

  @nn.compact
  def __call__(self, given: Given, keys: Array | None = None) -> Values:
    """Maps {"text": int32 [B, T]} to sentence vectors; words are dropped if there are ``keys`` [B]."""
    assert given is not None
    if not 0.0 <= self.dropout < 1.0:
      raise ConfigError(f"dropout={self.dropout} is not in [0, 1); take --.dropout=0.1")
    tokens = jnp.asarray(given["text"])
    if keys is not None:
      unknown = self.vocabulary.index(UNKNOWN) if UNKNOWN in self.vocabulary else 0
      tokens = with_unknown(tokens, random.row_stream(keys, "caption"), self.dropout, unknown)
    return Values(decoder=TextEncoder(len(self.vocabulary), self.width, self.layers, self.heads)(tokens))


def with_unknown(tokens: Array, keys: Array, share: float, unknown: int) -> Array:
  """Replaces a share of the tokens [B, T] that are no padding; row i's choice depends on keys[i] only."""
  dropped = random.uniform(keys, tokens.shape[1:]) < share
  return jnp.where(dropped & (tokens > 0), unknown, tokens)


CONDITIONING: dict[str, Any] = {"none": Unconditional, "concat": Label, "text": Text}
