"""Consistency regularisation: D is to say the same of an image and of a copy that shows the same."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from common import random
from common.errors import ConfigError
from common.schedules import Scheduled
from common.types import Array, Images
from gan.augment.geometry import mirror, shift
from gan.penalties.seen import Seen
from gan.penalties.weights import check_weight, weight_at


@dataclasses.dataclass(frozen=True)
class Consistency:
  """weight * (D(x) - D(T(x)))^2 at real images (CR: Zhang et al. 2020, arXiv:1910.12027, Eq. 4, of logits alone).

  T shifts by whole pixels, uniform, the image reflected at its border, and flips half of the images. Gradients pass
  through both passes of D.

  Attributes:
    weight: the paper's lambda.
    reach: the longest shift, as a share of each side; the paper's 4 pixels of 32.
    flip: whether T mirrors left to right.
    every: updates of D from one time to the next.
  """

  weight: Scheduled = 10.0
  reach: float = 0.125
  flip: bool = True
  every: int = 1

  def __post_init__(self):
    check_weight(self.weight, self.every)
    _check_reach(self.reach)

  def init(self) -> Any:
    return ()

  def __call__(self, seen: Seen, aux: Any) -> tuple[Array, Any]:
    copy = moved_copy(seen.real, random.row_stream(seen.rows, "real"), self.reach, self.flip)
    return weight_at(self.weight, seen) * (seen.real_logits - seen.apply_d(copy)) ** 2, aux


@dataclasses.dataclass(frozen=True)
class BalancedConsistency:
  """The same at generated images as well (bCR: Zhao et al. 2020, arXiv:2002.04724, Algorithm 1); G gets no gradient.

  Attributes:
    weight: the paper's lambda_real.
    fake_weight: the paper's lambda_fake.
    reach: the longest shift, as a share of each side.
    flip: whether T mirrors left to right.
    every: updates of D from one time to the next.
  """

  weight: float = 10.0
  fake_weight: float = 10.0
  reach: float = 0.125
  flip: bool = True
  every: int = 1

  def __post_init__(self):
    check_weight(self.weight, self.every)
    _check_reach(self.reach)
    if not self.fake_weight > 0:
      raise ConfigError(f'fake_weight={self.fake_weight} must be above 0; "consistency" looks at real images only')

  def init(self) -> Any:
    return ()

  def __call__(self, seen: Seen, aux: Any) -> tuple[Array, Any]:
    total = jnp.zeros_like(seen.real_logits)
    for half, weight in (("real", self.weight), ("fake", self.fake_weight)):
      images, logits = (seen.real, seen.real_logits) if half == "real" else (seen.fake, seen.fake_logits)
      copy = moved_copy(images, random.row_stream(seen.rows, half), self.reach, self.flip)
      total += weight * (logits - seen.apply_d(copy, half)) ** 2
    return total, aux


def moved_copy(x: Images, rows: Array, reach: float, flip: bool) -> Images:
  """Images [B, H, W, C] shifted by up to ``reach`` of each side and, half of them, mirrored."""
  pixels = round(reach * x.shape[1]), round(reach * x.shape[2])
  u = random.uniform(rows, (3,))
  counts = jnp.array(pixels)
  by = jnp.floor(u[:, :2] * (2 * counts + 1)).astype(jnp.int32) - counts
  copy = shift(x, by, pixels, fill=None)
  return mirror(copy, u[:, 2] < 0.5) if flip else copy


def _check_reach(reach: float) -> None:
  if not 0.0 <= reach < 0.5:
    raise ConfigError(f"reach={reach} must be at least 0 and below 0.5: it is a share of each side")
