"""Exponential moving averages of a network's parameters and statistics; sampling uses them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from common.build import build
from common.errors import ConfigError
from common.schedules import Constant, Scheduled, build_schedule
from common.types import Array, PyTree


@dataclasses.dataclass(frozen=True)
class Ema:
  """average <- decay_t average + (1 - decay_t) value, of parameters and of collections such as BatchNorm's statistics.

  Attributes:
    decay: maps the number of earlier updates, int32, to decay_t in [0, 1); None keeps no average.
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
    return jax.tree.map(lambda a, x: x + decay * (a - x), average, values)  # exactly the value if the decay is 0


NO_EMA = Ema(None)  # for networks that are not sampled from


def by_decay(decay: float, warmup: float = 10.0, start: int = 0) -> Ema:
  """Averages with decay_t = min(decay, (1 + t) / (warmup + t)), t updates after ``start``; decay 0 keeps no average.

  Args:
    decay: the largest decay, in [0, 1).
    warmup: 10 is TensorFlow's rule, under which the initial weights soon no longer matter. With 0 they still make up
      decay^t of the average after t updates, e.g. 0.22 for a decay of 0.999 and 1,500 updates.
    start: number of updates before averaging begins; until then the average equals the weights (Brock et al. 2019:
      20,000).
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
  """Averages with decay_t = 2^(-1 / h_t), so that a weight counts half after h_t updates (Karras et al. 2020).

  Args:
    updates: h_t, a number or a schedule; divide a half-life in images by the batch size. At 0 the average equals the
      weights.
    ramp: limits h_t to this share of the updates so far; 0 sets no limit (Karras et al. 2020: 0.05).
  """
  half_life = build_schedule(updates, "updates")
  if isinstance(half_life, Constant) and not half_life.value > 0:
    raise ConfigError(
      f"updates={half_life.value} must be above 0; "
      "for no average take --config.ema=\"{'name': 'decay', 'decay': 0.0}\""
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
  """Builds the section ``config.ema``.

  Raises:
    ConfigError: unknown name or invalid arguments.
  """
  return build(EMAS, section, "ema")
