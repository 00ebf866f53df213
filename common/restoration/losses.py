"""Pixel losses by name: how far a restored image is from the image, errors [B, H, W, C] -> means [B]."""

from collections.abc import Callable

import jax.numpy as jnp

from common.errors import ConfigError
from common.types import Array, Images

PixelLoss = Callable[[Images], Array]


def _mean(values: Array) -> Array:
  return jnp.mean(values, axis=(1, 2, 3))


def l1() -> PixelLoss:
  """|e|, whose minimum is the median of the images that fit what is seen (Lim et al. 2017, Section 3.3)."""
  return lambda error: _mean(jnp.abs(error))


def l2() -> PixelLoss:
  """e^2, whose minimum is the mean of the images that fit what is seen."""
  return lambda error: _mean(error**2)


def charbonnier(epsilon: float = 1e-3) -> PixelLoss:
  """sqrt(e^2 + epsilon^2), which is smooth where |e| is not (Lai et al. 2017, with epsilon 1e-3).

  Args:
    epsilon: the error in the units of the pixel range below which the loss is quadratic.
  """
  if not epsilon > 0:
    raise ConfigError(f"epsilon={epsilon} must be above 0; for 0 take --.name=l1")
  return lambda error: _mean(jnp.sqrt(error**2 + epsilon**2))


LOSSES: dict[str, Callable[..., PixelLoss]] = {"l1": l1, "l2": l2, "charbonnier": charbonnier}
