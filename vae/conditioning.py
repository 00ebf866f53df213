"""The values that a VAE's networks are given beside images and latents, made from the rows of a batch."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from common import random
from common.data.degradations.resize import resized
from common.data.tokenizer import UNKNOWN
from common.errors import ConfigError
from common.layers.text_encoder import TextEncoder
from common.types import Array, Given, Images
from vae.networks.unet import Pyramid


class Values(NamedTuple):
  """What each network is given.

  Attributes:
    encoder: values [B, K] or images [B, H, W, C], or None.
    decoder: values [B, K], or maps from the image's size down, or None.
    prior: values [B, K] for a prior that depends on them, or None.
    hole: where pixels are missing, bool [B, H, W, 1], if the others are known: p(x|z, given) is that of the hole.
    known: the image [B, H, W, C] outside of the hole.
  """

  encoder: Array | None = None
  decoder: Array | tuple[Array, ...] | None = None
  prior: Array | None = None
  hole: Array | None = None
  known: Images | None = None


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
    return Values(values, values, values)


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
    sentence = TextEncoder(len(self.vocabulary), self.width, self.layers, self.heads)(tokens)
    return Values(decoder=sentence, prior=sentence)


def with_unknown(tokens: Array, keys: Array, share: float, unknown: int) -> Array:
  """Replaces a share of the tokens [B, T] that are no padding; row i's choice depends on keys[i] only."""
  dropped = random.uniform(keys, tokens.shape[1:]) < share
  return jnp.where(dropped & (tokens > 0), unknown, tokens)


class Seen(nn.Module):
  """p(x|seen): an image from what config.data.degradation leaves of it (Ivanov et al. 2019, arXiv:1806.02382).

  The encoder sees it beside the image. Its maps, by a pyramid of the network's sizes, lead to p(z|seen) and stand
  beside the decoder's at each size. Of an image with a hole, known pixels are kept: the model is one of the others.
  """

  rows = ("seen",)
  image_shape: tuple[int, int, int]
  pixel_range: tuple[float, float]
  channels: tuple[int, ...]
  blocks: int
  dtype: str = "float32"

  @nn.compact
  def __call__(self, given: Given, keys: Array | None = None) -> Values:
    """Maps {"seen": float32 [B, h, w, c]} to images and maps; smaller ones are enlarged first."""
    assert given is not None
    height, width, colors = self.image_shape
    seen = jnp.asarray(given["seen"])
    if seen.shape[1:3] != (height, width):
      seen = resized(seen, height, width)
    maps = Pyramid(self.channels, self.blocks, self.dtype)(seen)
    values = Values(seen, maps, maps[-1].reshape(len(seen), -1).astype(jnp.float32))
    if seen.shape[-1] != colors + 1:
      return values
    return values._replace(hole=seen[..., colors:] > sum(self.pixel_range) / 2, known=seen[..., :colors])


CONDITIONING: dict[str, Any] = {"none": Unconditional, "concat": Label, "text": Text, "seen": Seen}
