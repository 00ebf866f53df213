"""What an augmentation of the images that the discriminator sees must offer."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from common.types import Array, Images


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """A random map T, applied to real and to generated images alike before D, in the updates of both players.

  G learns the data's distribution, and not that of T(data), as long as T's effect on distributions can be undone
  (Karras et al. 2020, Section 2.2): no picture of real images may come out of T as another picture would.

  Attributes:
    apply: (images [B, H, W, C], keys [B], p) -> images [B, H, W, C]; row i depends on key i only, and gradients pass
      to the images.
    init: () -> its running state, a tree of arrays.
    probability: (running state, int32 updates of D so far) -> p, a scalar.
    adapt: (running state, logits of real images [B] above the loss's boundary, updates of D before this one, axis
      name) -> running state.
    reports: whether p is worth a line in the log.
  """

  apply: Callable[[Images, Array, Array], Images]
  init: Callable[[], Any] = tuple
  probability: Callable[[Any, Array], Array] = lambda aux, updates: jnp.ones(())
  adapt: Callable[[Any, Array, Array, str | None], Any] = lambda aux, real, updates, axis_name: aux
  reports: bool = False
