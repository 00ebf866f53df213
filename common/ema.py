"""Running averages of a network's parameters and statistics, which pictures are drawn with, by name."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from common.build import build
from common.errors import ConfigError
from common.legality import typed
from common.schedules import Constant, Scheduled, build_schedule
from common.types import Array, PyTree


@dataclasses.dataclass(frozen=True)
class Ema:
  """average <- decay_t average + (1 - decay_t) value, of parameters and of collections such as BatchNorm's statistics.

  Attributes:
    decay: int32, the network's updates before -> decay_t in [0, 1); None: no average is kept.
  """

  decay: Callable[[Array], Array] | None

  @property
  def kept(self) -> bool:
    return self.decay is not None

  def start(self, values: PyTree) -> PyTree:
    return jax.tree.map(jnp.copy, values) if self.kept else None

  def update(self, average: PyTree, values: PyTree, updates: Array) -> PyTree:
    if self.decay is None:
      return None
    decay = self.decay(updates)
    return jax.tree.map(lambda a, x: x + decay * (a - x), average, values)  # at 0 it is the value to the bit


NO_EMA = Ema(None)  # of a network that nothing is sampled from


def by_decay(decay: float, warmup: float = 10.0, start: int = 0) -> Ema:
  """decay_t = min(decay, (1 + t) / (warmup + t)), t the updates since ``start``; a decay of 0 keeps no average.

  Args:
    decay: of the average, in [0, 1).
    warmup: 10 is TensorFlow's rule, under which the weights at the start soon count for nothing. With 0 they still
      make up decay^t of the average after t updates; for a decay of 0.999 and 1,500 updates that is 0.22.
    start: updates before the average begins; until then it is the weights (Brock et al. 2019: 20,000).
  """
  if not 0.0 <= decay < 1.0:
    raise ConfigError(f"decay={decay} must be in [0, 1)")
  if warmup < 0.0:
    raise ConfigError(f"warmup={warmup} must be 0 or more")
  if not decay:
    return NO_EMA

  def at(updates: Array) -> Array:
    t = (updates - start).astype(jnp.float32)
    return jnp.where(t < 0.0, 0.0, jnp.minimum(decay, (1.0 + t) / jnp.maximum(warmup + t, 1e-8)))

  return Ema(at)


def by_half_life(updates: Scheduled, ramp: float = 0.0) -> Ema:
  """decay_t = 2^(-1 / h_t): after h_t updates of the network a weight counts half (Karras et al. 2020).

  Args:
    updates: h_t, a number or a schedule; of a half-life in images, that by the batch size. At 0 the average is the
      weights.
    ramp: h_t is at most this share of the updates so far; 0 for no such bound (Karras et al. 2020: 0.05).
  """
  half_life = build_schedule(updates, "updates")
  if isinstance(half_life, Constant) and not half_life.value > 0:
    raise ConfigError(
      f"updates={half_life.value} must be above 0; for no average take " + typed("ema", name="decay", decay=0.0)
    )
  if ramp < 0.0:
    raise ConfigError(f"ramp={ramp} must be 0 or more")

  def at(updates: Array) -> Array:
    t = updates.astype(jnp.float32)
    h = half_life(updates)
    return jnp.exp2(-1.0 / jnp.maximum(jnp.minimum(h, ramp * t) if ramp else h, 1e-8))

  return Ema(at)


EMAS: dict[str, Callable[..., Ema]] = {"decay": by_decay, "half_life": by_half_life}


def build_ema(section: Mapping[str, Any]) -> Ema:
  """The section ``config.ema``.

  Raises:
    ConfigError: an unknown name, or arguments that it refuses.
  """
  return build(EMAS, section, "ema")
