"""Autoencoders: objectives without a rate, and what keeps their latents in bounds."""

import jax
import jax.numpy as jnp
import optax

from common.build import choose
from common.errors import ConfigError
from common.types import Array
from vae.model import Terms
from vae.objectives.objective import Context, Objective, check_not_negative, distortion


class Reconstruction(Objective):
  """The distortion alone: an autoencoder or, with a corruption of what the encoder sees, a denoising one.

  Vincent et al. 2008 ("Extracting and composing robust features with denoising autoencoders").
  """

  needs, uses_prior = frozenset({"point"}), False

  def __call__(self, terms: Terms, context: Context) -> Array:
    return distortion(terms)


class Rae(Objective):
  """distortion + z_weight |z|^2 / 2 + weight * regularizer of the decoder (Ghosh et al. 2020, arXiv:1903.12436).

  The regularizers are those of the authors' code.

  Attributes:
    z_weight: beta of the paper beside a distortion that is a sum over pixels; configs/rae.py has the authors' values.
    regularizer: "none"; "l2": the sum of squares of the kernels of the decoder's convolutions; "gradient": the squared
      norm of the slope in z of the sum of the squared pixels of E[x|z].
    weight: lambda of the paper, above 0 with a regularizer.
  """

  needs, uses_prior = frozenset({"point"}), False

  def __init__(self, z_weight: float, regularizer: str = "none", weight: float = 0.0):
    self.regularizer = choose({"none": None, "l2": _decoder_l2, "gradient": _decoder_slope}, regularizer, "regularizer")
    check_not_negative(z_weight=z_weight, weight=weight)
    if (regularizer != "none") != (weight > 0):
      raise ConfigError(
        f'weight={weight} with regularizer="{regularizer}" has no effect; '
        + ("set --.weight=0.0, or a regularizer" if weight else "set --.regularizer=none, or a weight above 0")
      )
    self.z_weight, self.weight = z_weight, weight

  def __call__(self, terms: Terms, context: Context) -> Array:
    total = distortion(terms) + 0.5 * self.z_weight * sum(jnp.sum(part[0] ** 2, axis=-1) for part in terms.z)
    return total + self.weight * self.regularizer(terms, context) if self.regularizer else total


def _decoder_l2(terms: Terms, context: Context) -> Array:
  kernels = [leaf for leaf in jax.tree.leaves(context.decoder_params) if leaf.ndim == 4]
  if not kernels:
    raise ConfigError(
      'config.objective.regularizer="l2" takes the kernels of the decoder\'s convolutions, and this decoder has none; '
      "take --config.objective.regularizer=gradient, or a convolutional network"
    )
  return optax.tree.norm(kernels, squared=True)


def _decoder_slope(terms: Terms, context: Context) -> Array:
  # No image depends on the z of another, so the gradient of the sum holds that of each image.
  slope = jax.grad(lambda z: jnp.sum(context.decode(z) ** 2))(tuple(part[0] for part in terms.z))
  return sum((jnp.sum(part**2, axis=-1) for part in slope), start=jnp.zeros(()))
