"""The Gaussian with independent latents: its density, its draws and its divergences, in nats."""

import math

import flax.struct
import jax.numpy as jnp

from common import random
from common.types import Array

LOG_2PI = math.log(2.0 * math.pi)


def gaussian_log_prob(z: Array, mean: Array | float, log_var: Array | float) -> Array:
  """log N(z; mean, e^log_var), [..., Z] -> [...]."""
  return -0.5 * jnp.sum(LOG_2PI + log_var + (z - mean) ** 2 * jnp.exp(-log_var), axis=-1)


def unit_kl(mean: Array, log_var: Array) -> Array:
  """KL(N(mean, e^log_var) || N(0, 1)) of each unit, [...] -> [...] (Kingma & Welling 2013, App. B)."""
  return 0.5 * (mean**2 + jnp.exp(log_var) - 1.0 - log_var)


class Normal(flax.struct.PyTreeNode):
  """N(mean, diag e^log_var), [Z] or [B, Z] each."""

  mean: Array
  log_var: Array

  def log_prob(self, z: Array) -> Array:
    return gaussian_log_prob(z, self.mean, self.log_var)

  def sample(self, keys: Array) -> Array:
    return self.mean + jnp.exp(0.5 * self.log_var) * random.normal(keys, self.mean.shape[-1:])


def gaussian_kl(mean: Array, log_var: Array, prior: Normal) -> Array:
  """KL(N(mean, e^log_var) || prior), [..., Z] -> [...]: the divergence from N(0, 1) of z in units of the prior."""
  return jnp.sum(unit_kl((mean - prior.mean) * jnp.exp(-0.5 * prior.log_var), log_var - prior.log_var), axis=-1)
