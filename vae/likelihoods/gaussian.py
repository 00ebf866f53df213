"""Gaussian pixels, by where their deviation comes from."""

import math

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.layers.basic import output_activation
from common.types import Array

LOG_2PI = math.log(2.0 * math.pi)


def sum_pixels(values: Array) -> Array:
  """[B, ...] -> [B]: a log-likelihood is a sum over pixels; means are taken over images only."""
  return jnp.sum(values.reshape(values.shape[0], -1), axis=-1)


def _mean(params: Array, pixel_range: tuple[float, float], squash: bool) -> Array:
  return output_activation(params, pixel_range) if squash else params


class Gaussian(nn.Module):
  """Independent pixels (Kingma & Welling 2013, App. C.2).

  Attributes:
    sigma: standard deviation in units of the pixel range's floats; 0: the decoder gives a log-variance for each pixel.
    min_log_var: floor of that log-variance, without which a density on 8-bit grey values is unbounded.
    squash: whether the means are held to the pixel range.
  """

  pixel_range: tuple[float, float]
  sigma: float = 0.0
  min_log_var: float = -7.0
  squash: bool = True

  def __post_init__(self):
    if self.sigma < 0:
      raise ConfigError(f"sigma={self.sigma} must be above 0, or 0 for one learned at each pixel")
    super().__post_init__()

  @property
  def num_params(self) -> int:
    return 1 if self.sigma else 2

  def _split(self, params: Array) -> tuple[Array, Array]:
    if self.sigma:
      return _mean(params, self.pixel_range, self.squash), jnp.asarray(2.0 * math.log(self.sigma))
    mean, log_var = jnp.split(params, 2, axis=-1)
    # A smooth floor: the gradient never dies.
    return _mean(mean, self.pixel_range, self.squash), self.min_log_var + nn.softplus(log_var - self.min_log_var)

  def log_prob(self, params: Array, x: Array) -> Array:
    """log N(x; mean, e^log_var), [B, H, W, C * num_params], [B, H, W, C] -> [B]."""
    mean, log_var = self._split(params)
    return sum_pixels(-0.5 * (LOG_2PI + log_var + (x - mean) ** 2 * jnp.exp(-log_var)))

  def mean(self, params: Array) -> Array:
    return self._split(params)[0]


class SharedGaussian(nn.Module):
  """One learned deviation for all pixels of all images (Dai & Wipf 2019, Eq. 13; Rybkin et al. 2021, "sigma-VAE").

  Attributes:
    pixel_range: (low, high) of the data.
    sigma: deviation at the start, in units of the pixel range's floats.
    min_log_var: floor of its logarithm's double.
    squash: whether the means are held to the pixel range.
  """

  pixel_range: tuple[float, float]
  sigma: float = 1.0
  min_log_var: float = -14.0
  squash: bool = True
  num_params = 1

  def __post_init__(self):
    if not self.sigma > 0:
      raise ConfigError(f"sigma={self.sigma} must be above 0")
    super().__post_init__()

  def setup(self) -> None:
    self.raw_log_var = self.param("log_var", nn.initializers.constant(2.0 * math.log(self.sigma)), ())

  def log_var(self) -> Array:
    """Of every pixel, []."""
    return self.min_log_var + nn.softplus(self.raw_log_var - self.min_log_var)

  def log_prob(self, params: Array, x: Array) -> Array:
    """[B, H, W, C], [B, H, W, C] -> [B]."""
    log_var, mean = self.log_var(), _mean(params, self.pixel_range, self.squash)
    return sum_pixels(-0.5 * (LOG_2PI + log_var + (x - mean) ** 2 * jnp.exp(-log_var)))

  def mean(self, params: Array) -> Array:
    return _mean(params, self.pixel_range, self.squash)


class OptimalGaussian(nn.Module):
  """Each image under the deviation that fits it best, sigma^2 = its mean squared error (Rybkin et al. 2021, Eq. 6).

  A loss that weighs squared error and rate by itself, and no density: the deviation is chosen after x is seen. The
  authors' code takes one deviation for a whole batch; here no image's loss depends on another's.

  Attributes:
    pixel_range: (low, high) of the data.
    min_log_var: floor of the deviation's logarithm, doubled.
    squash: whether the means are held to the pixel range.
  """

  pixel_range: tuple[float, float]
  min_log_var: float = -12.0
  squash: bool = True
  num_params = 1

  def log_prob(self, params: Array, x: Array) -> Array:
    """[B, H, W, C], [B, H, W, C] -> [B]."""
    square = (x - self.mean(params)) ** 2
    mean_square = jnp.mean(square.reshape(len(x), -1), axis=-1)
    log_var = jnp.log(jnp.maximum(mean_square, math.exp(self.min_log_var)))
    pixels = math.prod(x.shape[1:])
    return -0.5 * (pixels * (LOG_2PI + log_var) + pixels * mean_square * jnp.exp(-log_var))

  def mean(self, params: Array) -> Array:
    return _mean(params, self.pixel_range, self.squash)
