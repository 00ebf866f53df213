"""The contract of objectives, and what they see besides the terms of the bound."""

import dataclasses
from collections.abc import Callable
from typing import Protocol

import jax.numpy as jnp

from common.types import Array, Images, Latents, PyTree
from vae.model import Terms


@dataclasses.dataclass(frozen=True)
class Context:
  """The step around the terms.

  Attributes:
    updates: int32, updates of the network so far, which schedules count.
    decoder_params: the decoder's parameters; a loss may be differentiated in them.
    decode: z -> E[x|z] with those parameters, BatchNorm by its running statistics.
    prior_sample: gives one draw of p(z) for each image of the batch.
  """

  updates: Array
  decoder_params: PyTree
  decode: Callable[[Latents], Images]
  prior_sample: Callable[[], Latents]


class Objective(Protocol):
  """From the terms of k draws, [k, B], to a loss for each image; the step adds `Terms.penalties`.

  Attributes:
    needs: words of what a posterior ``gives`` (vae/posteriors.py).
    uses_prior: whether the rate or draws of p(z) are in the loss.
    draws: k, draws of z for each image.
    doubly: whether the gradient of z is weighted by the draws' normalized importance (vae/objectives/importance.py).
  """

  needs: frozenset[str]
  uses_prior: bool
  draws: int
  doubly: bool

  def __call__(self, terms: Terms, context: Context) -> Array:
    """[k, B] each -> [B], nats an image where the objective is a bound."""
    ...

  def figures(self, terms: Terms) -> dict[str, Array]:
    """What an evaluation reports besides the evidence lower bound, [k, B] each -> {name: [B]}."""
    ...


class OneDraw:
  """The common case: one draw of z, judged by its own rate, and nothing to report besides the bound."""

  needs = frozenset({"density", "real"})
  uses_prior, draws, doubly = True, 1, False

  def figures(self, terms: Terms) -> dict[str, Array]:
    """None."""
    return {}


def distortion(terms: Terms) -> Array:
  """The mean over draws, [k, B] -> [B]."""
  return jnp.mean(terms.distortion, axis=0)


def rate(terms: Terms) -> Array:
  """The mean over draws of the sum of the layers' rates, [k, B] -> [B]."""
  return jnp.mean(terms.rate, axis=0)
