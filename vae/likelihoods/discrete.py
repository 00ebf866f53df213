"""Probabilities of 8-bit grey values: x = low + level / 255 (high - low), level of 0 ... 255."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from common.types import Array

LEVELS = 256
FLAT = 7.0  # the largest log-scale: under a wider logistic all levels but the ends have the same probability


def levels(x: Array, pixel_range: tuple[float, float]) -> Array:
  """Pixels -> their levels as whole floats."""
  low, high = pixel_range
  return jnp.round((x - low) / (high - low) * (LEVELS - 1))


def logistic_log_prob(level: Array, mean: Array, log_scale: Array) -> Array:
  """log of a logistic's mass in a level's bin, whose middles lie on [-1, 1]; the two at the ends are open.

  Salimans et al. 2017 (arXiv:1701.05517), Eq. 2; Kingma et al. 2016, Section 5. With bounds a > b of the bin,
  s(a) - s(b) = s(a) s(-b) (1 - e^(b - a)), which keeps its digits in both tails.
  """
  inverse, middle = jnp.exp(-log_scale), 2.0 * level / (LEVELS - 1) - 1.0
  half = 1.0 / (LEVELS - 1)
  above, below = inverse * (middle - mean + half), inverse * (middle - mean - half)
  lower, upper = jax.nn.log_sigmoid(above), jax.nn.log_sigmoid(-below)
  inner = lower + upper + jnp.log(-jnp.expm1(-2.0 * half * inverse))
  return jnp.where(level == 0, lower, jnp.where(level == LEVELS - 1, upper, inner))


class DiscretizedLogistic(nn.Module):
  """Independent pixels and channels, each under a discretized logistic (Kingma et al. 2016, Section 5).

  Attributes:
    pixel_range: (low, high) of the data.
    min_log_scale: floor of the logistics' log-scales, where the images' range is [-1, 1].
  """

  pixel_range: tuple[float, float]
  min_log_scale: float = -7.0
  num_params = 2
  pixels, levels = True, True

  def _split(self, params: Array) -> tuple[Array, Array]:
    mean, raw = jnp.split(params, 2, axis=-1)
    # A smooth floor: the gradient never dies where scales must grow.
    return mean, jnp.minimum(self.min_log_scale + nn.softplus(raw - self.min_log_scale), FLAT)

  def log_prob(self, params: Array, x: Array) -> Array:
    """[B, H, W, 2 C], [B, H, W, C] -> [B]."""
    log_p = logistic_log_prob(levels(x, self.pixel_range), *self._split(params))
    return jnp.sum(log_p.reshape(log_p.shape[0], -1), axis=-1)

  def mean(self, params: Array) -> Array:
    """[B, H, W, C], open ends included: the sum over v = 0 ... 254 of P(level > v)."""
    mean, log_scale = self._split(params)
    inverse = jnp.exp(-log_scale)

    def add(v: Array, total: Array) -> Array:
      return total + nn.sigmoid(inverse * (mean - ((2.0 * v + 1.0) / (LEVELS - 1) - 1.0)))

    level = lax.fori_loop(0, LEVELS - 1, add, jnp.zeros(mean.shape))
    low, high = self.pixel_range
    return low + (high - low) * level / (LEVELS - 1)
