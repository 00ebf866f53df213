"""Optimizers by name. Their numbers may be schedules of the net's own updates (``common.schedules``)."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import optax

from common.build import build, parameters
from common.errors import ConfigError
from common.schedules import Constant, Schedule, Scheduled, build_schedule


def _learning_rate(value: Scheduled) -> Schedule | float:
  schedule = build_schedule(value, "learning_rate")
  if not isinstance(schedule, Constant):
    for name in ("start", "end"):
      if getattr(schedule, name, 0.0) < 0:
        raise ConfigError(f"learning_rate.{name}={getattr(schedule, name)} must be 0 or more")
    return schedule
  if not schedule.value > 0:
    raise ConfigError(f"learning_rate={schedule.value} must be above 0")
  return schedule.value  # a constant compiles to less than a schedule


def sgd(learning_rate: Scheduled, momentum: Scheduled = 0.0) -> optax.GradientTransformation:
  """Gradient descent with momentum in the form v <- momentum * v + g, p <- p - learning_rate * v.

  Args:
    learning_rate: a number, or a schedule of the network's updates.
    momentum: the same; 0 for none.
  """
  rate, decay = _learning_rate(learning_rate), build_schedule(momentum, "momentum")
  if not isinstance(decay, Constant):
    return optax.chain(
      optax.inject_hyperparams(optax.trace)(decay=decay),
      optax.scale_by_learning_rate(rate),
    )
  return optax.sgd(rate, momentum=decay.value or None)


def adam(
  learning_rate: Scheduled, b1: float = 0.9, b2: Scheduled = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
  """Adam (Kingma & Ba 2015), eps outside the root.

  Under a schedule of b2 the correction of the start is by 1 - b2^t with the b2 of update t.

  Args:
    learning_rate: a number, or a schedule of the network's updates.
    b1: decay of the mean of gradients.
    b2: decay of the mean of their squares, a number or a schedule.
    eps: added to the root of the latter.
  """
  rate, decay = _learning_rate(learning_rate), build_schedule(b2, "b2")
  for name, value in (("b1", b1), ("b2", decay.value if isinstance(decay, Constant) else 0.0)):
    if not 0 <= value < 1:
      raise ConfigError(f"{name}={value} must be at least 0 and below 1")
  if not isinstance(decay, Constant):
    scheduled = optax.inject_hyperparams(optax.scale_by_adam)(b1=b1, b2=decay, eps=eps)
    return optax.chain(scheduled, optax.scale_by_learning_rate(rate))
  return optax.adam(rate, b1=b1, b2=decay.value, eps=eps)


def normalized_adam(
  learning_rate: Scheduled, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, norm_eps: float = 1e-7
) -> optax.GradientTransformation:
  """Adam on gradients of unit norm, each array by itself: g / (|g| + norm_eps) (the code of Tomczak & Welling 2018).

  Args:
    learning_rate: a number, or a schedule of the network's updates.
    b1: decay of the mean of gradients.
    b2: decay of the mean of their squares.
    eps: added to the root of the latter.
    norm_eps: added to the L2 norm of a gradient array.
  """
  if not norm_eps > 0:
    raise ConfigError(f"norm_eps={norm_eps} must be above 0")
  unit_norm = optax.stateless_with_tree_map(lambda g, _: g / (jnp.sqrt(jnp.sum(g**2)) + norm_eps))
  return optax.chain(unit_norm, adam(learning_rate, b1, b2, eps))


def adagrad(learning_rate: Scheduled, eps: float = 1e-7) -> optax.GradientTransformation:
  """Adagrad (Duchi et al. 2011), accumulators from 0.

  Args:
    learning_rate: a number, or a schedule of the network's updates.
    eps: added to the accumulated squares under the root.
  """
  return optax.adagrad(_learning_rate(learning_rate), initial_accumulator_value=0.0, eps=eps)


def rmsprop(learning_rate: Scheduled, decay: float = 0.99, eps: float = 1e-8) -> optax.GradientTransformation:
  """RMSprop (Tieleman & Hinton 2012) as PyTorch has it: g / (sqrt(v) + eps), v from 0, no momentum.

  Args:
    learning_rate: a number, or a schedule of the network's updates.
    decay: of the mean of squared gradients, v.
    eps: added to the root.
  """
  if not 0 <= decay < 1:
    raise ConfigError(f"decay={decay} must be at least 0 and below 1")
  return optax.rmsprop(_learning_rate(learning_rate), decay=decay, eps=eps, eps_in_sqrt=False)


OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
  "sgd": sgd,
  "adam": adam,
  "normalized_adam": normalized_adam,
  "adagrad": adagrad,
  "rmsprop": rmsprop,
}


DECAYS = ("momentum", "b1", "b2", "decay")  # of running means


def with_lazy_updates(section: Mapping[str, Any], path: str, every: int) -> dict[str, Any]:
  """The section of an optimizer that makes ``every`` + 1 updates where it made ``every`` (Karras et al. 2020, App. B).

  With c = every / (every + 1) the rate becomes c times itself and each decay of a running mean its c-th power: in an
  interval Adam, whose steps are of the rate's length, goes as far and forgets as much as before. An ``every`` of 1
  stands for no such updates and changes nothing.

  Raises:
    ConfigError: a section that `build_optimizer` refuses, or a schedule, which these updates would drive too.
  """
  build(OPTIMIZERS, section, path)
  plain = dict(section)
  if every == 1:
    return plain
  c = every / (every + 1)
  taken = parameters(OPTIMIZERS[plain["name"]])
  for key in (key for key in ("learning_rate", *DECAYS) if key in taken):
    value = plain.get(key, taken[key].default)
    if hasattr(value, "items"):
      raise ConfigError(
        f"config.{path}.{key} is a schedule, and updates for lazy penalties alone would drive it too; take a number, or"
        " --config.lazy_penalties=term"
      )
    plain[key] = c * value if key == "learning_rate" else value**c
  return plain


def build_optimizer(section: Mapping[str, Any], path: str, grad_clip: float = 0.0) -> optax.GradientTransformation:
  """The optimizer of a config section; gradients are first clipped to a global norm of ``grad_clip`` (0: not)."""
  optimizer = build(OPTIMIZERS, section, path)
  return optax.chain(optax.clip_by_global_norm(grad_clip), optimizer) if grad_clip else optimizer
