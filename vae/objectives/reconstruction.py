"""Autoencoders: no rate, and what keeps their latents in bounds."""

import jax
import jax.numpy as jnp
import optax

from common import random
from common.algorithm import Array, Latents
from common.build import ConfigError, choose
from vae.model import Terms
from vae.objectives.objective import Context, distortion


class Reconstruction:
  """The distortion alone: an autoencoder; with a corruption of what the encoder sees, a denoising one.

  Vincent et al. 2008 ("Extracting and composing robust features with denoising autoencoders").
  """

  rate, draws = "closed", 1

  def __call__(self, terms: Terms, context: Context) -> Array:
    return distortion(terms)


class Rae:
  """distortion + z_weight |z|^2 / 2 + weight * regularizer of the decoder (Ghosh et al. 2020, arXiv:1903.12436).

  Attributes:
    z_weight: beta of the paper.
    regularizer: "none"; "l2": sum of squares of the decoder's parameters; "gradient": the squared Frobenius norm of
      dE[x|z]/dz, estimated without bias by one normal probe an image (Hutchinson 1989).
    weight: lambda of the paper.
  """

  rate, draws = "closed", 1

  def __init__(self, z_weight: float = 1e-4, regularizer: str = "none", weight: float = 1e-6):
    self.regularizer = choose({"none": None, "l2": _decoder_l2, "gradient": _decoder_slope}, regularizer, "regularizer")
    if not (z_weight >= 0 and weight >= 0):
      raise ConfigError(f"z_weight={z_weight} and weight={weight} must be at least 0")
    self.z_weight, self.weight = z_weight, weight

  def __call__(self, terms: Terms, context: Context) -> Array:
    total = distortion(terms) + 0.5 * self.z_weight * sum(jnp.sum(part[0] ** 2, axis=-1) for part in terms.z)
    return total + self.weight * self.regularizer(terms, context) if self.regularizer else total


def _decoder_l2(terms: Terms, context: Context) -> Array:
  return optax.tree.norm(context.decoder_params, squared=True)


def _decoder_slope(terms: Terms, context: Context) -> Array:
  z: Latents = tuple(part[0] for part in terms.z)
  images, pull = jax.vjp(context.decode, z)
  probe = random.normal(random.row_stream(context.rows, "probe"), images.shape[1:])
  return sum((jnp.sum(part**2, axis=-1) for part in pull(probe)[0]), start=jnp.zeros(()))
