"""Corruptions by name: what the encoder sees in training instead of the image."""

from collections.abc import Callable

from common import random
from common.errors import ConfigError
from common.types import Array, Images

Corruption = Callable[[Images, Array], Images]  # x [B, H, W, C] in pixel_range, keys [B] -> [B, H, W, C]


class Nothing:
  """The image as it is."""

  def __call__(self, x: Images, keys: Array) -> Images:
    return x


class GaussianNoise:
  """x + N(0, sigma^2), not clipped (Vincent et al. 2010, Section 3.3; for a bound, Im et al. 2017).

  Attributes:
    sigma: deviation of the noise, in units of the pixel range's floats.
  """

  def __init__(self, sigma: float = 0.3):
    if not sigma > 0:
      raise ConfigError(f"sigma={sigma} must be above 0; for no noise take --config.corruption=\"{{'name': 'none'}}\"")
    self._sigma = sigma

  def __call__(self, x: Images, keys: Array) -> Images:
    return x + self._sigma * random.normal(keys, x.shape[1:])


class Masking:
  """Sets pixels, with all their channels, to the low end of the pixel range at random (Vincent et al. 2008).

  Attributes:
    probability: probability that a pixel is masked.
  """

  def __init__(self, pixel_range: tuple[float, float], probability: float = 0.25):
    if not 0 < probability < 1:
      raise ConfigError(f"probability={probability} must be between 0 and 1")
    self._low, self._keep = pixel_range[0], 1.0 - probability

  def __call__(self, x: Images, keys: Array) -> Images:
    keep = random.uniform(keys, (*x.shape[1:3], 1)) < self._keep
    return keep * x + ~keep * self._low


CORRUPTIONS = {"none": Nothing, "gaussian": GaussianNoise, "masking": Masking}
