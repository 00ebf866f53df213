"""The types that trainer, evaluator and model families exchange."""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
PyTree = Any
# Rows: "image" [B, H, W, C], "label" int32 [B], "index" int32 [B]; in evaluation "mask" float32 [B]
Batch = Mapping[str, Array]
Given = Mapping[str, Array | np.ndarray] | None  # the rows of a batch that a model is given; None for none
Images = Array  # [N, H, W, C], float32 in spec.pixel_range
Latents = Any  # [N, Z], or a tuple of such arrays, one for each stochastic layer


class Mean(flax.struct.PyTreeNode):
  """A mean stored as total and count, so that sums over steps, devices and masked batches are exact."""

  total: Array
  count: Array

  @classmethod
  def of(cls, values: Array, mask: Array | None = None) -> "Mean":
    """Averages ``values`` [B, ...] over the leading axis; rows with mask 0 are ignored."""
    if mask is None:
      return cls(jnp.sum(values, axis=0), jnp.asarray(values.shape[0], jnp.float32))
    # where, not a product: a padded row may hold inf or nan.
    rows = mask.reshape(mask.shape + (1,) * (values.ndim - 1))
    return cls(jnp.sum(jnp.where(rows > 0, values, 0.0), axis=0), jnp.sum(mask))


Metrics = dict[str, Mean]
