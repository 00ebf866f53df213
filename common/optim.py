"""Optimizers by name. A number may be a schedule of the network's own updates (``common.schedules``)."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from common.build import build
from common.errors import ConfigError
from common.schedules import Constant, Schedule, Scheduled, build_schedule
from common.types import Array, PyTree


def _learning_rate(value: Scheduled) -> Schedule | float:
  schedule = build_schedule(value, "learning_rate")
  if not isinstance(schedule, Constant):
    for name in ("start", "end"):
      if getattr(schedule, name, 0.0) < 0:
        raise ConfigError(f"learning_rate.{name}={getattr(schedule, name)} must be 0 or more")
    return schedule
  if not schedule.value > 0:
    raise ConfigError(f"learning_rate={schedule.value} must be above 0")
  return schedule.value  # compiles to less than a schedule


def sgd(learning_rate: Scheduled, momentum: Scheduled = 0.0) -> optax.GradientTransformation:
  """Gradient descent with momentum in the form v <- momentum * v + g, p <- p - learning_rate * v.

  Args:
    learning_rate: a number or a schedule.
    momentum: a number or a schedule; 0 for none.
  """
  rate, decay = _learning_rate(learning_rate), build_schedule(momentum, "momentum")
  if not isinstance(decay, Constant):
    return optax.chain(optax.inject_hyperparams(optax.trace)(decay=decay), optax.scale_by_learning_rate(rate))
  return optax.sgd(rate, momentum=decay.value or None)


def _clipped(optimizer: optax.GradientTransformation, bound: float) -> optax.GradientTransformation:
  """Projects each parameter to [-bound, bound] after an update (Arjovsky et al. 2017), unless bound is 0."""

  def update(updates: PyTree, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
    def project(u: Array, w: Array) -> Array:
      # Inside the bound, u stays equal to the bit.
      return jnp.where(jnp.abs(w + u) > bound, jnp.sign(w + u) * bound - w, u)

    return jax.tree.map(project, updates, params), state

  projection = optax.GradientTransformation(lambda params: optax.EmptyState(), update)
  return optax.chain(optimizer, projection) if bound else optimizer


def adam(
  learning_rate: Scheduled, b1: float = 0.9, b2: Scheduled = 0.999, eps: float = 1e-8, weight_clip: float = 0.0
) -> optax.GradientTransformation:
  """Adam (Kingma & Ba 2015), with eps outside the root.

  Args:
    learning_rate: a number or a schedule.
    b1: decay of the mean of gradients.
    b2: decay of the mean of their squares, a number or a schedule; under a schedule, update t is corrected by
      1 - b2^t with its own b2.
    eps: added to the root of the mean of squares.
    weight_clip: each parameter is clipped to [-c, c] after an update; 0 for no clipping.
  """
  rate, decay = _learning_rate(learning_rate), build_schedule(b2, "b2")
  for name, value in (("b1", b1), ("b2", decay.value if isinstance(decay, Constant) else 0.0)):
    if not 0 <= value < 1:
      raise ConfigError(f"{name}={value} must be at least 0 and below 1")
  if not isinstance(decay, Constant):
    scheduled = optax.inject_hyperparams(optax.scale_by_adam)(b1=b1, b2=decay, eps=eps)
    return _clipped(optax.chain(scheduled, optax.scale_by_learning_rate(rate)), weight_clip)
  return _clipped(optax.adam(rate, b1=b1, b2=decay.value, eps=eps), weight_clip)


def normalized_adam(
  learning_rate: Scheduled, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, norm_eps: float = 1e-7
) -> optax.GradientTransformation:
  """Adam on gradients of unit norm, each array by itself: g / (|g| + norm_eps) (the code of Tomczak & Welling 2018).

  Args:
    learning_rate: a number or a schedule.
    b1: decay of the mean of gradients.
    b2: decay of the mean of their squares.
    eps: added to the root of the mean of squares.
    norm_eps: added to the L2 norm of a gradient array.
  """
  if not norm_eps > 0:
    raise ConfigError(f"norm_eps={norm_eps} must be above 0")
  unit_norm = optax.stateless_with_tree_map(lambda g, _: g / (jnp.sqrt(jnp.sum(g**2)) + norm_eps))
  return optax.chain(unit_norm, adam(learning_rate, b1, b2, eps))


def adagrad(learning_rate: Scheduled, eps: float = 1e-7) -> optax.GradientTransformation:
  """Adagrad (Duchi et al. 2011), with accumulators that start at 0.

  Args:
    learning_rate: a number or a schedule.
    eps: added to the accumulated squares under the root.
  """
  return optax.adagrad(_learning_rate(learning_rate), initial_accumulator_value=0.0, eps=eps)


def rmsprop(
  learning_rate: Scheduled, decay: float = 0.99, eps: float = 1e-8, weight_clip: float = 0.0
) -> optax.GradientTransformation:
  """RMSprop (Tieleman & Hinton 2012) in PyTorch's form, g / (sqrt(v) + eps) with v from 0, without momentum.

  Args:
    learning_rate: a number or a schedule.
    decay: decay of v, the mean of squared gradients.
    eps: added to the root.
    weight_clip: each parameter is clipped to [-c, c] after an update; 0 for no clipping.
  """
  if not 0 <= decay < 1:
    raise ConfigError(f"decay={decay} must be at least 0 and below 1")
  return _clipped(optax.rmsprop(_learning_rate(learning_rate), decay=decay, eps=eps, eps_in_sqrt=False), weight_clip)


OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
  "sgd": sgd,
  "adam": adam,
  "normalized_adam": normalized_adam,
  "adagrad": adagrad,
  "rmsprop": rmsprop,
}


def build_optimizer(section: Mapping[str, Any], path: str, grad_clip: float = 0.0) -> optax.GradientTransformation:
  """Builds the optimizer of a config section; gradients are first clipped to the global norm ``grad_clip`` if not 0."""
  optimizer = build(OPTIMIZERS, section, path)
  return optax.chain(optax.clip_by_global_norm(grad_clip), optimizer) if grad_clip else optimizer
