"""p(z), and the rate KL(q(z|x) || p(z)) in nats an image."""

import flax.linen as nn
import jax.numpy as jnp

from common import random
from common.algorithm import Array
from vae.posteriors import DiagonalGaussian, gaussian_log_prob


class StandardNormal(nn.Module):
  """N(0, I)."""

  z_dim: int

  def log_prob(self, z: Array) -> Array:
    """[..., Z] -> [...]."""
    return gaussian_log_prob(z, 0.0, 0.0)

  def sample(self, rows: Array) -> Array:
    """keys [B] -> z [B, Z]."""
    return random.normal(rows, (self.z_dim,))


PRIORS = {"standard_normal": StandardNormal}


def gaussian_kl(mean: Array, log_var: Array) -> Array:
  """KL(N(mean, e^log_var) || N(0, I)) in nats, [B, Z] -> [B] (Kingma & Welling 2013, App. B)."""
  return 0.5 * jnp.sum(mean**2 + jnp.exp(log_var) - 1.0 - log_var, axis=-1)


def rate(posterior: nn.Module, prior: nn.Module, stats: Array, z: Array, log_q: Array) -> Array:
  """KL(q || p) [B]: the closed form where the pair has one, else its one-sample estimate log q(z|x) - log p(z)."""
  if isinstance(posterior, DiagonalGaussian) and isinstance(prior, StandardNormal):
    return gaussian_kl(*posterior.split(stats))
  return log_q - prior.log_prob(z)
