"""p(x|z): log-densities of images in nats an image, summed over pixels and channels.

The decoder gives ``params`` [B, H, W, C * num_params]; images are in spec.pixel_range.
"""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from common.algorithm import Array
from common.build import ConfigError
from common.layers import output_activation

LOG_2PI = math.log(2.0 * math.pi)


def sum_pixels(values: Array) -> Array:
  """[B, ...] -> [B]: a log-likelihood is a sum over pixels; means are taken over images only."""
  return jnp.sum(values.reshape(values.shape[0], -1), axis=-1)


class Bernoulli(nn.Module):
  """Independent pixels, params = logits (Kingma & Welling 2013, App. C.1).

  On grey values in [0, 1], not binarized ones, this is the cross-entropy that many codes report, and no density.
  """

  pixel_range: tuple[float, float]
  num_params = 1

  def __post_init__(self):
    if tuple(self.pixel_range) != (0.0, 1.0):
      raise ConfigError(f'"bernoulli" needs config.data.pixel_range=(0.0, 1.0), not {tuple(self.pixel_range)}')
    super().__post_init__()

  def log_prob(self, params: Array, x: Array) -> Array:
    """log p(x) = sum x log s(l) + (1 - x) log(1 - s(l)) = sum x l - softplus(l); [B, H, W, C] -> [B]."""
    return sum_pixels(x * params - nn.softplus(params))

  def mean(self, params: Array) -> Array:
    return nn.sigmoid(params)


class Gaussian(nn.Module):
  """Independent pixels with means squashed into the pixel range (Kingma & Welling 2013, App. C.2).

  Attributes:
    sigma: standard deviation in units of the pixel range's floats; 0: the decoder gives a log-variance for each pixel.
    min_log_var: floor of that log-variance, without which a density on 8-bit grey values is unbounded.
  """

  pixel_range: tuple[float, float]
  sigma: float = 0.0
  min_log_var: float = -7.0

  def __post_init__(self):
    if self.sigma < 0:
      raise ConfigError(f"sigma={self.sigma} must be above 0, or 0 for one learned at each pixel")
    super().__post_init__()

  @property
  def num_params(self) -> int:
    return 1 if self.sigma else 2

  def _split(self, params: Array) -> tuple[Array, Array]:
    if self.sigma:
      return output_activation(params, self.pixel_range), jnp.asarray(2.0 * math.log(self.sigma))
    mean, log_var = jnp.split(params, 2, axis=-1)
    # A smooth floor: the gradient never dies.
    return output_activation(mean, self.pixel_range), self.min_log_var + nn.softplus(log_var - self.min_log_var)

  def log_prob(self, params: Array, x: Array) -> Array:
    """log N(x; mean, e^log_var), [B, H, W, C * num_params], [B, H, W, C] -> [B]."""
    mean, log_var = self._split(params)
    return sum_pixels(-0.5 * (LOG_2PI + log_var + (x - mean) ** 2 * jnp.exp(-log_var)))

  def mean(self, params: Array) -> Array:
    return self._split(params)[0]


LIKELIHOODS: dict[str, Any] = {"bernoulli": Bernoulli, "gaussian": Gaussian}
