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
    updates: of the network so far, int32; what schedules count.
    rows: keys [B].
    decoder_params: those of the model's parameters that `decode` uses; a loss may be differentiated in them.
    decode: z -> E[x|z] with those parameters, BatchNorm by its running statistics.
    prior_sample: keys [B] -> draws of p(z).
    axis_name: the device axis, for statistics over the batch; None for the global view.
  """

  updates: Array
  rows: Array
  decoder_params: PyTree
  decode: Callable[[Latents], Images]
  prior_sample: Callable[[Array], Latents]
  axis_name: str | None


class Objective(Protocol):
  """From the terms of k draws, [k, B], to a loss an image; `Terms.penalties` are added by the step.

  Attributes:
    draws: k, of z for each image.
    rate: which estimate of the rate it needs, as `vae.model.LatentVariableModel` names them; or "doubly", "path" with
      z's gradient weighted by the draws' normalized importance (Tucker et al. 2019, arXiv:1810.04152).
  """

  @property
  def draws(self) -> int: ...

  @property
  def rate(self) -> str: ...

  def __call__(self, terms: Terms, context: Context) -> Array:
    """[k, B] each -> [B], nats an image where the objective is a bound."""
    ...


def distortion(terms: Terms) -> Array:
  """The mean over draws, [k, B] -> [B]."""
  return jnp.mean(terms.distortion, axis=0)


def rate(terms: Terms) -> Array:
  """The mean over draws of all layers' rates, [k, B] -> [B]."""
  return jnp.mean(terms.rate, axis=0)
