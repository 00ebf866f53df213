"""Schedules of numbers that change during training, as functions of a counter (steps or a network's updates).

In a config, a scheduled number is a plain number or a section, e.g. ``{"name": "linear", "start": 0.5, "end": 0.7,
"steps": 1000}``.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from common.build import build
from common.errors import ConfigError
from common.types import Array

Schedule = Callable[[Array], Array]  # counter (int32 scalar) -> float32 scalar
Scheduled = float | Mapping[str, Any]  # the form in a config


@dataclasses.dataclass(frozen=True)
class Constant:
  """Stays at ``value``."""

  value: float

  def __call__(self, count: Array) -> Array:
    return jnp.asarray(self.value, jnp.float32)


@dataclasses.dataclass(frozen=True)
class Linear:
  """Stays at ``start`` until ``delay``, then moves to ``end`` in a straight line over ``steps``."""

  start: float
  end: float
  steps: int
  delay: int = 0

  def __post_init__(self):
    _positive("steps", self.steps)

  def __call__(self, count: Array) -> Array:
    fraction = jnp.clip((count - self.delay) / self.steps, 0.0, 1.0)
    return self.start + (self.end - self.start) * fraction


@dataclasses.dataclass(frozen=True)
class Cosine:
  """Half a cosine from ``start`` to ``end`` over ``steps`` (Loshchilov & Hutter 2017, Eq. 5, without restarts)."""

  start: float
  end: float
  steps: int

  def __post_init__(self):
    _positive("steps", self.steps)

  def __call__(self, count: Array) -> Array:
    fraction = jnp.clip(count / self.steps, 0.0, 1.0)
    return self.end + (self.start - self.end) * 0.5 * (1.0 + jnp.cos(jnp.pi * fraction))


@dataclasses.dataclass(frozen=True)
class Exponential:
  """Equals ``start * factor^count``, but at least ``floor``."""

  start: float
  factor: float
  floor: float = 0.0

  def __post_init__(self):
    _positive("factor", self.factor)

  def __call__(self, count: Array) -> Array:
    return jnp.maximum(self.start * jnp.exp(count * math.log(self.factor)), self.floor)


@dataclasses.dataclass(frozen=True)
class Piecewise:
  """Begins at ``start`` and is multiplied by ``factor`` at each count in ``milestones``."""

  start: float
  factor: float
  milestones: tuple[int, ...]

  def __call__(self, count: Array) -> Array:
    passed = jnp.sum(count >= jnp.asarray(self.milestones))
    return self.start * self.factor**passed


SCHEDULES: dict[str, Callable[..., Schedule]] = {
  "constant": Constant,
  "linear": Linear,
  "cosine": Cosine,
  "exponential": Exponential,
  "piecewise": Piecewise,
}


def build_schedule(value: Scheduled, path: str) -> Schedule:
  """Builds a schedule from a number or a config section; ``path`` names it in errors."""
  return Constant(float(value)) if isinstance(value, int | float) else build(SCHEDULES, value, path)


def moving(owner: object) -> dict[str, Schedule]:
  """Returns the attributes of ``owner`` that are non-constant schedules."""
  kinds = (Linear, Cosine, Exponential, Piecewise)
  return {name: value for name, value in vars(owner).items() if isinstance(value, kinds)}


def _positive(name: str, value: float) -> None:
  if not value > 0:
    raise ConfigError(f"{name}={value} must be above 0")
