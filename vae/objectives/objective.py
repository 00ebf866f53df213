"""The contract of objectives, what they see besides the terms of the bound, and the parts that they share."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

from common.errors import ConfigError
from common.schedules import Constant, Schedule
from common.types import Array, Images, Latents, PyTree
from vae.model import Terms


@dataclasses.dataclass(frozen=True)
class Context:
  """The step around the terms.

  Attributes:
    updates: int32, updates of the network so far, which schedules count.
    decoder_params: the decoder's parameters; a loss may be differentiated in them.
    decode: z -> E[x|z] with those parameters, where BatchNorm uses its running statistics.
    prior_sample: draws z from p(z) for each image of the batch.
  """

  updates: Array
  decoder_params: PyTree
  decode: Callable[[Latents], Images]
  prior_sample: Callable[[], Latents]


class Objective:
  """Maps the terms of k draws, [k, B] each, to a loss for each image, [B]; the step adds `Terms.penalties`.

  Attributes:
    needs: words of what a posterior ``gives`` (vae/posteriors/__init__.py).
    uses_prior: whether the rate or draws from p(z) are in the loss.
    draws: k, draws of z for each image.
    doubly: whether the gradient of z is weighted by the draws' normalized importance (vae/objectives/importance.py).
  """

  needs = frozenset({"density", "real"})
  uses_prior, draws, doubly = True, 1, False

  def __call__(self, terms: Terms, context: Context) -> Array:
    """Returns the loss, in nats an image if the objective is a bound."""
    raise NotImplementedError

  def figures(self, terms: Terms) -> dict[str, Array]:
    """Returns what an evaluation reports besides the evidence lower bound, {name: [B]}."""
    return {}


def distortion(terms: Terms) -> Array:
  """Averages over draws, [k, B] -> [B]."""
  return jnp.mean(terms.distortion, axis=0)


def rate(terms: Terms) -> Array:
  """Averages the sum of the layers' rates over draws, [k, B] -> [B]."""
  return jnp.mean(terms.rate, axis=0)


def check_not_negative(**values: float | Schedule) -> None:
  """Raises ConfigError for a number, or a constant schedule, below 0."""
  for name, value in values.items():
    number = value.value if isinstance(value, Constant) else value
    if isinstance(number, int | float) and not number >= 0:
      raise ConfigError(f"{name}={number} must be at least 0")
