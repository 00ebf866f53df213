"""The values that a VAE's networks are given beside images and latents, made from the rows of a batch."""

from typing import Any

import flax.linen as nn
import jax

from common.types import Array, Given


class Unconditional(nn.Module):
  """p(x): the model is given nothing."""

  rows = ()

  def __call__(self, given: Given) -> None:
    return None


class Label(nn.Module):
  """p(x|label): one-hot values beside the encoder's x and the decoder's z (Sohn et al. 2015; p(z) has no label)."""

  rows = ("label",)
  num_classes: int

  def __call__(self, given: Given) -> Array:
    """{"label": int32 [B]} -> [B, K]."""
    assert given is not None
    return jax.nn.one_hot(given["label"], self.num_classes)


CONDITIONING: dict[str, Any] = {"none": Unconditional, "concat": Label}
