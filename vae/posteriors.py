"""q(z|x): from the encoder's statistics to a draw and its log-density in nats."""

import math

import flax.linen as nn
import jax.numpy as jnp

from common import random
from common.algorithm import Array

LOG_2PI = math.log(2.0 * math.pi)


def gaussian_log_prob(z: Array, mean: Array | float, log_var: Array | float) -> Array:
  """log N(z; mean, e^log_var) in nats, [..., Z] -> [...]."""
  return -0.5 * jnp.sum(LOG_2PI + log_var + (z - mean) ** 2 * jnp.exp(-log_var), axis=-1)


class DiagonalGaussian(nn.Module):
  """N(mean, diag e^log_var), by the reparameterisation of Kingma & Welling 2013, Section 2.4."""

  @staticmethod
  def num_stats(z_dim: int) -> int:
    """How many numbers the encoder gives for z of z_dim."""
    return 2 * z_dim

  @staticmethod
  def split(stats: Array) -> tuple[Array, Array]:
    """[B, 2 Z] -> mean, log_var."""
    mean, log_var = jnp.split(stats, 2, axis=-1)
    return mean, log_var

  def __call__(self, stats: Array, rows: Array) -> tuple[Array, Array]:
    """A draw z [B, Z] with keys ``rows`` [B], and log q(z|x) [B]."""
    mean, log_var = self.split(stats)
    z = mean + jnp.exp(0.5 * log_var) * random.normal(rows, mean.shape[1:])
    return z, gaussian_log_prob(z, mean, log_var)


POSTERIORS = {"diagonal_gaussian": DiagonalGaussian}
