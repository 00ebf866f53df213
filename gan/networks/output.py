"""What every discriminator returns, and what its last layer does with labels."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from common.types import Array


class DiscriminatorOutput(flax.struct.PyTreeNode):
  """logits [B], before the sigmoid; features [B, F], the input of the last layer; class_logits [B, K] or None."""

  logits: Array
  features: Array
  class_logits: Array | None = None


def _plain(layer: nn.Module) -> nn.Module:
  return layer


@dataclasses.dataclass(frozen=True)
class LabelHead:
  """What a discriminator's features say of labels; config.conditioning chooses it.

  Attributes:
    form: "none"; "projection": <embed(y), features> is added to the logits (Miyato & Koyama 2018, Eq. 5); "auxiliary":
      a dense layer to class_logits (Odena et al. 2017).
    num_classes: of the labels.
  """

  form: str = "none"
  num_classes: int = 0

  def __call__(
    self,
    logits: Array,
    features: Array,
    labels: Array | None,
    kernel_init: Callable[..., Array],
    normalized: Callable[[nn.Module], Any] = _plain,
  ) -> DiscriminatorOutput:
    """Called at the end of a compact method, which the layers then belong to.

    Args:
      logits: [B], of the image alone.
      features: [B, F].
      labels: [B] for a projection.
      kernel_init: of the weights, as of the network's last layer.
      normalized: what the network wraps its last layer in, as in `SpectralNorm`.
    """
    class_logits = None
    if self.form == "projection":
      embed = nn.Dense(features.shape[-1], use_bias=False, kernel_init=kernel_init, name="label_embedding")
      embedded = normalized(embed)(jax.nn.one_hot(labels, self.num_classes))
      logits = logits + jnp.sum(embedded * features, axis=-1)
    elif self.form == "auxiliary":
      classify = nn.Dense(self.num_classes, kernel_init=kernel_init, name="label_classifier")
      class_logits = normalized(classify)(features)
    return DiscriminatorOutput(logits=logits, features=features, class_logits=class_logits)
