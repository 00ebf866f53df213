"""Corruptions by name: what the encoder sees in training instead of the image, a degradation that keeps its shape."""

import dataclasses
from collections.abc import Callable

from common.data.degradations import DEGRADATIONS
from common.data.degradations.degradation import Degradation
from common.data.degradations.masks import Pixels
from common.data.degradations.noise import GaussianNoise
from common.errors import ConfigError
from common.types import Array, Images


class Nothing(Degradation):
  """The image as it is."""

  def __call__(self, x: Images, keys: Array) -> Images:
    return x


def gaussian(pixel_range: tuple[float, float], sigma: float = 0.3) -> GaussianNoise:
  """x + N(0, sigma^2), not clipped (Vincent et al. 2010, Section 3.3; for a bound, Im et al. 2017).

  Args:
    pixel_range: lowest and highest value of a pixel.
    sigma: deviation of the noise, in units of the pixel range's floats.
  """
  if not sigma > 0:
    raise ConfigError(f"sigma={sigma} must be above 0; for no noise take --config.corruption=\"{{'name': 'none'}}\"")
  return GaussianNoise(sigma * 255.0 / (pixel_range[1] - pixel_range[0]))


class Masking(Degradation):
  """Sets pixels, with all their channels, to the low end of the pixel range at random (Vincent et al. 2008).

  Attributes:
    probability: probability that a pixel is masked.
  """

  def __init__(self, probability: float = 0.25):
    if not 0 < probability < 1:
      raise ConfigError(f"probability={probability} must be between 0 and 1")
    self._pixels = Pixels(probability)

  def __call__(self, x: Images, keys: Array) -> Images:
    return self._pixels(x, keys)[..., :-1]  # without the channel that marks the hole


CORRUPTIONS: dict[str, Callable[..., Degradation]] = {
  "none": Nothing,
  "gaussian": gaussian,
  "masking": Masking,
  **DEGRADATIONS,
}


@dataclasses.dataclass(frozen=True)
class Corruption:
  """Applies a degradation to images in ``pixel_range``.

  Raises:
    ConfigError: it changes the shape of images.
  """

  degradation: Degradation
  image_shape: tuple[int, int, int]
  pixel_range: tuple[float, float]

  def __post_init__(self) -> None:
    shape = self.degradation.shape(self.image_shape)
    if shape != self.image_shape:
      raise ConfigError(
        f"config.corruption makes {shape} of images of {self.image_shape}, of which the encoder takes only the latter; "
        "take one that keeps the shape, such as --config.corruption=\"{'name': 'masking'}\""
      )

  def __call__(self, x: Images, keys: Array) -> Images:
    if isinstance(self.degradation, Nothing):
      return x
    low, high = self.pixel_range
    return low + (high - low) * self.degradation((x - low) / (high - low), keys)
