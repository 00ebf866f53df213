"""A second VAE as a density of the first one's latents (Dai & Wipf 2019, arXiv:1903.05789, Section 4)."""

import flax.linen as nn
import jax.numpy as jnp

from common import random
from common.types import Array
from vae.model import LatentVariableModel


class SecondStage(nn.Module):
  """p(z) = integral of N(z; mean(u), sigma^2 I) N(u; 0, I) du, with one learned sigma; u has the size of z.

  Attributes:
    model: the VAE of z; its likelihood is a `SharedGaussian`.
  """

  model: LatentVariableModel

  def bound(self, z: Array, rows: Array) -> Array:
    """A lower bound of log p(z) in nats with one draw of u for each z [B, Z], keys [B] -> [B]."""
    terms = self.model(z[:, None, None, :], None, rows, train=False)
    return -(terms.distortion + terms.rate)

  def sample(self, rows: Array) -> Array:
    """Keys [B] -> z [B, Z] with the likelihood's noise; row i depends on key i only."""
    mean = self.model.mean_image(self.model.prior_sample(rows), None).reshape(len(rows), -1)
    noise = random.normal(random.row_stream(rows, "likelihood"), mean.shape[1:])
    return mean + jnp.exp(0.5 * self.model.likelihood.log_var()) * noise
