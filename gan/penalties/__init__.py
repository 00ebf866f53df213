"""Terms that are added to the discriminator's loss, by name; what each sees and offers is in seen.py."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jax import lax

from common.build import build, choose
from common.errors import ConfigError
from common.types import Array
from gan.penalties.consistency import BalancedConsistency, Consistency
from gan.penalties.lecam import LeCam
from gan.penalties.orthogonal import Orthogonal
from gan.penalties.seen import Penalty, Seen
from gan.penalties.slopes import R1, R2, Dragan, GradientPenalty

PENALTIES = {
  "gradient_penalty": GradientPenalty,
  "dragan": Dragan,
  "r1": R1,
  "r2": R2,
  "lecam": LeCam,
  "orthogonal": Orthogonal,
  "consistency": Consistency,
  "balanced_consistency": BalancedConsistency,
}


def build_penalties(section: Mapping[str, Any]) -> dict[str, Penalty]:
  """``{name: {arguments}}`` of a config -> {name: penalty}.

  Raises:
    ConfigError: an unknown name, or arguments that it refuses.
  """
  built = {}
  for name, arguments in section.items():
    choose(PENALTIES, name, "config.penalties")
    if not hasattr(arguments, "items"):
      raise ConfigError(f"config.penalties.{name}={arguments!r} is not a section {{'argument': value}}")
    built[name] = build(PENALTIES, {"name": name, **arguments}, f"penalties.{name}")
  return built


def lazy_interval(penalties: Mapping[str, Penalty]) -> int:
  """The ``every`` of those that are not due at each update of D; 1 where there are none.

  Raises:
    ConfigError: they have several.
  """
  intervals = {name: penalty.every for name, penalty in penalties.items() if penalty.every > 1}
  if len(set(intervals.values())) > 1:
    found = ", ".join(f"config.penalties.{name}.every={every}" for name, every in intervals.items())
    raise ConfigError(
      f'config.lazy_penalties="update" has one update for all, and these differ: {found}; take one number, or '
      "--config.lazy_penalties=term"
    )
  return max(intervals.values(), default=1)


def penalize(
  penalties: Mapping[str, Penalty], see: Callable[[str], Seen], updates: Array, aux: Mapping[str, Any]
) -> tuple[dict[str, Array], dict[str, Any]]:
  """The penalties of one update of D and their new running state, by name.

  Args:
    penalties: as `build_penalties` made them.
    see: name -> what this penalty sees.
    updates: of D before this one; a penalty that is due at each k-th only counts k times there.
    aux: their running state.

  Returns:
    {name: [B]}, and the state.
  """
  values, after = {}, {}
  for name, penalty in penalties.items():

    def due(seen: Seen, state: Any, penalty: Penalty = penalty) -> tuple[Array, Any]:
      values, state = penalty(seen, state)
      return penalty.every * values, state

    seen, state = see(name), aux[name]
    if penalty.every == 1:
      values[name], after[name] = due(seen, state)
    else:
      values[name], after[name] = lax.cond(
        updates % penalty.every == 0,
        lambda due=due, seen=seen, state=state: due(seen, state),
        lambda seen=seen, state=state: (jnp.zeros_like(seen.real_logits), state),
      )
  return values, after
