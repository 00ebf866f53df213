"""Top-k training of the generator (Sinha et al. 2020, arXiv:2002.06224, Algorithm 1)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from common.build import build
from common.errors import ConfigError
from common.parallel import batch_gather
from common.schedules import SCHEDULES, Constant, Schedule
from common.types import Array


@dataclasses.dataclass(frozen=True)
class TopK:
  """G learns from the fakes alone that D holds for the most real ones, k of the global batch of B.

  Attributes:
    share: k / B in (0, 1] as a schedule of G's updates; k is rounded, and 1 at least. The paper's falls from 1 by a
      factor of 0.99 an epoch, and not below 1/2.
  """

  share: Schedule

  def weights(self, logits: Array, index: Array, updates: Array, axis_name: str | None) -> Array:
    """B / k for each of the k fakes with the highest logits and 0 for the others, [B].

    So the mean of weights * losses over the global batch is the mean of the losses of the k. Of equal logits the row
    that comes first counts.

    Args:
      logits: D's of the fakes, [B].
      index: int32 [B], their rows in the global batch.
      updates: of G before this one.
      axis_name: the device axis, None for the global view.
    """
    if self.share == Constant(1.0):
      return jnp.ones_like(logits)
    all_logits, all_index = batch_gather(logits, axis_name), batch_gather(index, axis_name)
    above = all_logits[None, :] > logits[:, None]
    before = (all_logits[None, :] == logits[:, None]) & (all_index[None, :] < index[:, None])
    rank = jnp.sum(above | before, axis=1)
    size = len(all_logits)
    k = jnp.clip(jnp.round(self.share(updates) * size), 1, size)
    return jnp.where(rank < k, size / k, 0.0)


def build_top_k(section: Mapping[str, Any]) -> TopK:
  """The schedule ``config.top_k``.

  Raises:
    ConfigError: an unknown schedule, or a constant share outside (0, 1].
  """
  share = build(SCHEDULES, section, "top_k")
  if isinstance(share, Constant) and not 0.0 < share.value <= 1.0:
    raise ConfigError(f"config.top_k.value={share.value} must be above 0 and at most 1: it is a share of the batch")
  return TopK(share)
