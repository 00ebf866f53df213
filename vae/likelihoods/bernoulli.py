"""Bernoulli pixels on logits."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.errors import ConfigError
from common.types import Array


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
    """log p(x) = sum x log s(l) + (1 - x) log(1 - s(l)) = sum x l - softplus(l); [B, H, W, C] -> [B]."""
    return bernoulli_log_prob(params.reshape(params.shape[0], -1), x.reshape(x.shape[0], -1))

  def mean(self, params: Array) -> Array:
    return nn.sigmoid(params)
