"""Noise, and rounding to the 8 bits of a file."""

import dataclasses

import jax.numpy as jnp

from common import random
from common.data.degradations.degradation import Degradation, Range, check_range, drawn
from common.types import Array, Images


def gaussian(x: Images, sigma: Array, keys: Array) -> Images:
  """x + N(0, sigma^2), sigma [B] in grey levels of 255."""
  return x + sigma[:, None, None, None] / 255.0 * random.normal(keys, x.shape[1:])


def poisson(x: Images, peak: Array, keys: Array) -> Images:
  """Poisson(peak x) / peak: the light that is counted where ``peak`` [B] photons make white (x is cut off at 0)."""
  peak = peak[:, None, None, None]
  return random.poisson(keys, peak * jnp.maximum(x, 0.0)) / peak


def quantised(x: Images) -> Images:
  """Clips to [0, 1] and rounds to multiples of 1/255, halves up.

  A mean of 8-bit values is often a half, of which float arithmetic may leave a little less on one machine only.
  """
  return jnp.clip(jnp.floor(x * 255.0 + 0.5001), 0.0, 255.0) / 255.0


@dataclasses.dataclass(frozen=True)
class GaussianNoise(Degradation):
  """Adds N(0, sigma^2) to each value, without clipping.

  Attributes:
    sigma: deviation in grey levels of 255, or (low, high) of which each image draws its own, as for blind denoising.
  """

  sigma: Range

  def __post_init__(self) -> None:
    check_range("sigma", self.sigma, 0.0)

  def __call__(self, x: Images, keys: Array) -> Images:
    return gaussian(x, drawn(self.sigma, keys, "sigma"), keys)


@dataclasses.dataclass(frozen=True)
class PoissonNoise(Degradation):
  """Counts photons, without clipping: the noise's variance grows with the light.

  Attributes:
    peak: expected number of photons of a white pixel; the fewer, the noisier.
  """

  peak: Range

  def __post_init__(self) -> None:
    check_range("peak", self.peak, 0.01)

  def __call__(self, x: Images, keys: Array) -> Images:
    return poisson(x, drawn(self.peak, keys, "peak"), keys)


@dataclasses.dataclass(frozen=True)
class Quantise(Degradation):
  """Clips to [0, 1] and rounds to 8 bits."""

  def __call__(self, x: Images, keys: Array) -> Images:
    return quantised(x)
