"""p(x|z): log-densities of images in nats an image, summed over pixels and channels.

The decoder gives ``params`` [B, H, W, C * num_params]; images are in spec.pixel_range.
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.algorithm import Array
from common.build import ConfigError
from common.layers import output_activation

LOG_2PI = math.log(2.0 * math.pi)


def sum_pixels(values: Array) -> Array:
  """[B, ...] -> [B]: a log-likelihood is a sum over pixels; means are taken over images only."""
  return jnp.sum(values.reshape(values.shape[0], -1), axis=-1)


def _fold(values: Array, op: Callable[[Array, Array], Array]) -> Array:
  """Halves [B, D] up to four times by ``op`` of left and right: runs of up to 16 by loops that are vectorised."""
  for _ in range(4):
    size = values.shape[-1]
    if size % 2:
      break
    values = op(values[:, : size // 2], values[:, size // 2 :])
  return values


@jax.custom_jvp
def bernoulli_log_prob(logits: Array, x: Array) -> Array:
  """sum_i x_i l_i - softplus(l_i), [B, D] -> [B], with one logarithm for up to 16 pixels.

  softplus(l) = max(l, 0) + log(1 + e^-|l|), and a product of 16 factors in [1, 2] is far from overflow. A factor is
  rounded to 6e-8, and so is its logarithm; 16 logarithms would take three times as long on a CPU.
  """
  size = jnp.abs(logits)
  linear = _fold((x - 0.5) * logits - 0.5 * size, jnp.add)  # max(l, 0) = (l + |l|) / 2
  return jnp.sum(linear - jnp.log(_fold(1.0 + jnp.exp(-size), jnp.multiply)), axis=-1)


@bernoulli_log_prob.defjvp
def _bernoulli_log_prob_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
  (logits, x), (d_logits, d_x) = primals, tangents
  return bernoulli_log_prob(logits, x), jnp.sum((x - nn.sigmoid(logits)) * d_logits + logits * d_x, axis=-1)


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
    return bernoulli_log_prob(params.reshape(params.shape[0], -1), x.reshape(x.shape[0], -1))

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
