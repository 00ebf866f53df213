"""Bernoulli pixels on logits, and the density on [0, 1] of the same form."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.errors import ConfigError
from common.types import Array

SMALL = 0.1  # of a logit, below which a series has more digits than the closed form


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
    _check_range("bernoulli", self.pixel_range)
    super().__post_init__()

  def log_prob(self, params: Array, x: Array) -> Array:
    """log p(x) = sum x log s(l) + (1 - x) log(1 - s(l)) = sum x l - softplus(l); [B, H, W, C] -> [B]."""
    return bernoulli_log_prob(params.reshape(params.shape[0], -1), x.reshape(x.shape[0], -1))

  def mean(self, params: Array) -> Array:
    return nn.sigmoid(params)


class ContinuousBernoulli(nn.Module):
  """p(x) = C(l) s(l)^x (1 - s(l))^(1 - x) on [0, 1], params = logits l (Loaiza-Ganem & Cunningham 2019, Eq. 4-6).

  What the cross-entropy of grey values lacks to be a density: C(l) = l / tanh(l / 2), which is 2 at 0.
  """

  pixel_range: tuple[float, float]
  num_params = 1

  def __post_init__(self):
    _check_range("continuous_bernoulli", self.pixel_range)
    super().__post_init__()

  def log_prob(self, params: Array, x: Array) -> Array:
    """[B, H, W, C], [B, H, W, C] -> [B]."""
    logits = params.reshape(params.shape[0], -1)
    return bernoulli_log_prob(logits, x.reshape(x.shape[0], -1)) + jnp.sum(log_constant(logits), axis=-1)

  def mean(self, params: Array) -> Array:
    """1 / (1 - e^-l) - 1 / l, which is no sigmoid."""
    small = jnp.abs(params) < SMALL
    safe = jnp.where(small, 1.0, params)
    return jnp.where(small, 0.5 + params / 12.0 - params**3 / 720.0, 1.0 / -jnp.expm1(-safe) - 1.0 / safe)


def log_constant(logits: Array) -> Array:
  """log(l / tanh(l / 2)) of each logit, with a finite gradient everywhere."""
  small = jnp.abs(logits) < SMALL
  # Both branches must be finite for the gradient of either to be.
  size = jnp.where(small, 1.0, jnp.abs(logits))
  series = jnp.log(2.0) + logits**2 / 12.0 - 7.0 * logits**4 / 1440.0
  return jnp.where(small, series, jnp.log(size) - jnp.log(jnp.tanh(0.5 * size)))


def _check_range(name: str, pixel_range: tuple[float, float]) -> None:
  if tuple(pixel_range) != (0.0, 1.0):
    raise ConfigError(
      f'"{name}" needs config.data.pixel_range=(0.0, 1.0), not {tuple(pixel_range)}; '
      'set --config.data.pixel_range="(0.0, 1.0)"'
    )
