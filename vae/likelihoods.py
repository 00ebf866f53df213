"""p(x|z): log-densities of images in nats an image, summed over pixels and channels, by name.

The decoder gives ``params`` [B, H, W, C * num_params]; images are in spec.pixel_range. A likelihood says whether it
takes ``pixels`` only, not points, and whether it is a probability of the 256 ``levels`` of a grey value.
``log_prob(params, x)`` is [B], ``mean(params)`` is E[x], [B, H, W, C].
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from common.errors import ConfigError
from common.layers.basic import output_activation
from common.types import Array
from vae.gaussian import gaussian_log_prob

LEVELS = 256
NARROW = -7.0  # the least log-scale of a logistic
FLAT = 7.0  # the largest: under a wider logistic all levels but the ends have the same probability


def _flat(x: Array) -> Array:
  return x.reshape(x.shape[0], -1)


def log_prob_of(hole: Array, likelihood: Any, params: Array, x: Array) -> Array:
  """log p of the pixels in the hole alone, bool [B, H, W, 1] -> [B]; pixels are independent under every likelihood."""
  pixels = likelihood.log_prob(*(values.reshape(-1, 1, 1, values.shape[-1]) for values in (params, x)))
  return jnp.sum(jnp.where(hole, pixels.reshape(hole.shape), 0.0), axis=(1, 2, 3))


def _fold(values: Array, op: Callable[[Array, Array], Array]) -> Array:
  """Halves [B, D] up to four times, by ``op`` of its left and right half, in loops that are vectorised."""
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

  On grey values in [0, 1] that are not binarized this is the cross-entropy that many codes report, and no density.
  """

  pixel_range: tuple[float, float]
  num_params = 1
  pixels, levels = True, False

  def __post_init__(self):
    if tuple(self.pixel_range) != (0.0, 1.0):
      raise ConfigError(
        f'"bernoulli" needs config.data.pixel_range=(0.0, 1.0), not {tuple(self.pixel_range)}; '
        'set --config.data.pixel_range="(0.0, 1.0)"'
      )
    super().__post_init__()

  def log_prob(self, params: Array, x: Array) -> Array:
    """log p(x) = sum x log s(l) + (1 - x) log(1 - s(l)) = sum x l - softplus(l)."""
    return bernoulli_log_prob(_flat(params), _flat(x))

  def mean(self, params: Array) -> Array:
    return nn.sigmoid(params)


class Gaussian(nn.Module):
  """Independent Gaussian pixels (Kingma & Welling 2013, App. C.2).

  Attributes:
    pixel_range: (low, high) of the data.
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

  def log_prob(self, params: Array, x: Array) -> Array:
    """log N(x; mean, e^log_var)."""
    mean = _flat(self.mean(params))
    if self.sigma:
      return gaussian_log_prob(_flat(x), mean, 2.0 * math.log(self.sigma))
    raw = _flat(jnp.split(params, 2, axis=-1)[1])
    # A smooth floor: the gradient never dies.
    return gaussian_log_prob(_flat(x), mean, self.min_log_var + nn.softplus(raw - self.min_log_var))

  def mean(self, params: Array) -> Array:
    mean = params if self.sigma else jnp.split(params, 2, axis=-1)[0]
    return output_activation(mean, self.pixel_range) if self.squash else mean


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
    """Returns the log-variance of every pixel, []."""
    return self.min_log_var + nn.softplus(self.raw_log_var - self.min_log_var)

  def log_prob(self, params: Array, x: Array) -> Array:
    return gaussian_log_prob(_flat(x), _flat(self.mean(params)), self.log_var())

  def mean(self, params: Array) -> Array:
    return output_activation(params, self.pixel_range) if self.squash else params


class Laplace(nn.Module):
  """Independent pixels, -log p(x) = sum |x - params| / scale + log(2 scale).

  Attributes:
    scale: mean absolute deviation in units of the pixel range's floats.
  """

  scale: float
  num_params = 1
  pixels, levels = False, False

  def __post_init__(self):
    if not self.scale > 0:
      raise ConfigError(f"scale={self.scale} must be above 0")
    super().__post_init__()

  def log_prob(self, params: Array, x: Array) -> Array:
    error = jnp.abs(_flat(x) - _flat(params))
    return -jnp.sum(error / self.scale + math.log(2.0 * self.scale), axis=-1)

  def mean(self, params: Array) -> Array:
    return params


def logistic_log_prob(level: Array, mean: Array, log_scale: Array) -> Array:
  """The log of a logistic's mass in the bin of a level; bin centres lie on [-1, 1], and the bins at the ends are open.

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

  It is a probability of 8-bit grey values, x = low + level / 255 (high - low), level 0 ... 255.
  """

  pixel_range: tuple[float, float]
  num_params = 2
  pixels, levels = True, True

  def _split(self, params: Array) -> tuple[Array, Array]:
    mean, raw = jnp.split(params, 2, axis=-1)
    # A smooth floor: the gradient never dies where scales must grow.
    return mean, jnp.minimum(NARROW + nn.softplus(raw - NARROW), FLAT)

  def log_prob(self, params: Array, x: Array) -> Array:
    low, high = self.pixel_range
    level = jnp.round((x - low) / (high - low) * (LEVELS - 1))
    return jnp.sum(_flat(logistic_log_prob(level, *self._split(params))), axis=-1)

  def mean(self, params: Array) -> Array:
    """Sums P(level > v) over v = 0 ... 254, open ends included."""
    mean, log_scale = self._split(params)
    inverse = jnp.exp(-log_scale)

    def add(v: Array, total: Array) -> Array:
      return total + nn.sigmoid(inverse * (mean - ((2.0 * v + 1.0) / (LEVELS - 1) - 1.0)))

    level = lax.fori_loop(0, LEVELS - 1, add, jnp.zeros(mean.shape))
    low, high = self.pixel_range
    return low + (high - low) * level / (LEVELS - 1)


LIKELIHOODS: dict[str, Any] = {
  "bernoulli": Bernoulli,
  "gaussian": Gaussian,
  "shared_gaussian": SharedGaussian,
  "laplace": Laplace,
  "discretized_logistic": DiscretizedLogistic,
}
