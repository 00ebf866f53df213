"""Gaussian pixels, by where their deviation comes from."""

import math

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.layers.basic import output_activation
from common.types import Array
from vae.gaussian import gaussian_log_prob


def _mean(params: Array, pixel_range: tuple[float, float], squash: bool) -> Array:
  return output_activation(params, pixel_range) if squash else params


def _log_prob(x: Array, mean: Array, log_var: Array) -> Array:
  """The sum over pixels and channels, [B, H, W, C] -> [B]; ``log_var`` is one number or as large as x."""
  log_var = log_var.reshape(x.shape[0], -1) if log_var.ndim else log_var
  return gaussian_log_prob(x.reshape(x.shape[0], -1), mean.reshape(x.shape[0], -1), log_var)


class Gaussian(nn.Module):
  """Independent pixels (Kingma & Welling 2013, App. C.2).

  Attributes:
    sigma: standard deviation in units of the pixel range's floats; 0: the decoder gives a log-variance at each pixel.
    min_log_var: floor of that log-variance, without which a density on 8-bit grey values is unbounded.
    squash: whether the means are squashed into the pixel range.
  """

  pixel_range: tuple[float, float]
  sigma: float = 0.0
  min_log_var: float = -7.0
  squash: bool = True
  pixels, levels = False, False

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
    return _log_prob(x, *self._split(params))

  def mean(self, params: Array) -> Array:
    return self._split(params)[0]


class SharedGaussian(nn.Module):
  """One learned deviation for all pixels of all images (Dai & Wipf 2019, Eq. 13; Rybkin et al. 2021, "sigma-VAE").

  Attributes:
    pixel_range: (low, high) of the data.
    sigma: deviation at the start, in units of the pixel range's floats.
    min_log_var: floor of the log-variance.
    squash: whether the means are squashed into the pixel range.
  """

  pixel_range: tuple[float, float]
  sigma: float = 1.0
  min_log_var: float = -14.0
  squash: bool = True
  num_params = 1
  pixels, levels = False, False

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
    return _log_prob(x, self.mean(params), self.log_var())

  def mean(self, params: Array) -> Array:
    return _mean(params, self.pixel_range, self.squash)
