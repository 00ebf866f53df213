"""Probabilities of 8-bit grey values: x = low + level / 255 (high - low), level of 0 ... 255."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from common.errors import ConfigError
from common.types import Array
from vae.likelihoods.gaussian import sum_pixels

LEVELS = 256
FLAT = 7.0  # the largest log-scale: a wider logistic gives all levels the same but the ends


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


def _log_scale(raw: Array, floor: float) -> Array:
  # A smooth floor: the gradient never dies where scales must grow.
  return jnp.minimum(floor + nn.softplus(raw - floor), FLAT)


def _expected_level(above: Callable[[Array], Array]) -> Array:
  """sum_v P(level > v) for v of 0 ... 254, of ``above(v)``, which gives the arrays."""
  start = above(jnp.float32(0))
  return lax.fori_loop(1, LEVELS - 1, lambda v, total: total + above(jnp.float32(v)), start)


def _pixels(level: Array, pixel_range: tuple[float, float]) -> Array:
  low, high = pixel_range
  return low + (high - low) * level / (LEVELS - 1)


class LogisticMixture(nn.Module):
  """A mixture of discretized logistics (Salimans et al. 2017, arXiv:1701.05517, Section 2.1).

  The channels of a pixel share the component and are independent given it; the paper adds a linear dependence.

  Attributes:
    pixel_range: (low, high) of the data.
    components: of a pixel's mixture.
    min_log_scale: floor of the logistics' log-scales, where the images' range is [-1, 1].
  """

  pixel_range: tuple[float, float]
  components: int = 10
  min_log_scale: float = -7.0

  def __post_init__(self):
    if self.components < 1:
      raise ConfigError(f"components={self.components} must be 1 or more")
    super().__post_init__()

  @property
  def num_params(self) -> int:
    return 3 * self.components

  def _split(self, params: Array) -> tuple[Array, Array, Array]:
    """[B, H, W, C * 3 K] -> log-weights [B, H, W, K], means and log-scales [B, H, W, C, K]."""
    parts = params.reshape(*params.shape[:3], -1, 3, self.components)
    log_weight = jax.nn.log_softmax(jnp.sum(parts[..., 0, :], axis=-2))
    return log_weight, parts[..., 1, :], _log_scale(parts[..., 2, :], self.min_log_scale)

  def log_prob(self, params: Array, x: Array) -> Array:
    """[B, H, W, C * 3 K], [B, H, W, C] -> [B]."""
    log_weight, mean, log_scale = self._split(params)
    channels = logistic_log_prob(levels(x, self.pixel_range)[..., None], mean, log_scale)
    return sum_pixels(jax.nn.logsumexp(log_weight + jnp.sum(channels, axis=-2), axis=-1))

  def mean(self, params: Array) -> Array:
    """[B, H, W, C], open ends included."""
    log_weight, mean, log_scale = self._split(params)
    weight, inverse = jnp.exp(log_weight)[..., None, :], jnp.exp(-log_scale)

    def above(v: Array) -> Array:
      bound = (2.0 * v + 1.0) / (LEVELS - 1) - 1.0
      return jnp.sum(weight * nn.sigmoid(inverse * (mean - bound)), axis=-1)

    return _pixels(_expected_level(above), self.pixel_range)


class DiscretizedLogistic(nn.Module):
  """Independent pixels and channels under one discretized logistic each (Kingma et al. 2016, Section 5).

  Attributes:
    pixel_range: (low, high) of the data.
    min_log_scale: floor of the logistics' log-scales, where the images' range is [-1, 1].
  """

  pixel_range: tuple[float, float]
  min_log_scale: float = -7.0
  num_params = 2

  def _split(self, params: Array) -> tuple[Array, Array]:
    mean, log_scale = jnp.split(params, 2, axis=-1)
    return mean, _log_scale(log_scale, self.min_log_scale)

  def log_prob(self, params: Array, x: Array) -> Array:
    """[B, H, W, 2 C], [B, H, W, C] -> [B]."""
    return sum_pixels(logistic_log_prob(levels(x, self.pixel_range), *self._split(params)))

  def mean(self, params: Array) -> Array:
    """[B, H, W, C], open ends included."""
    mean, log_scale = self._split(params)
    inverse = jnp.exp(-log_scale)
    above = lambda v: nn.sigmoid(inverse * (mean - ((2.0 * v + 1.0) / (LEVELS - 1) - 1.0)))  # noqa: E731
    return _pixels(_expected_level(above), self.pixel_range)


class Categorical(nn.Module):
  """Independent pixels and channels, 256 logits each (van den Oord et al. 2016, arXiv:1601.06759, Section 3.4).

  Attributes:
    pixel_range: (low, high) of the data.
  """

  pixel_range: tuple[float, float]
  num_params = LEVELS

  def _log_probs(self, params: Array) -> Array:
    return jax.nn.log_softmax(params.reshape(*params.shape[:3], -1, LEVELS))

  def log_prob(self, params: Array, x: Array) -> Array:
    """[B, H, W, 256 C], [B, H, W, C] -> [B]."""
    level = levels(x, self.pixel_range).astype(jnp.int32)[..., None]
    return sum_pixels(jnp.take_along_axis(self._log_probs(params), level, axis=-1))

  def mean(self, params: Array) -> Array:
    """[B, H, W, C]."""
    return _pixels(jnp.exp(self._log_probs(params)) @ jnp.arange(LEVELS, dtype=jnp.float32), self.pixel_range)
