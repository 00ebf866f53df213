"""The image sizes that a network is made for; a network without ``sizes`` takes any, and points as well."""

from collections.abc import Callable
from typing import NamedTuple

from common.errors import ConfigError


class Sizes(NamedTuple):
  """Sizes in words, and whether a height and a width are among them."""

  words: str
  fits: Callable[[int, int], bool]

  def check(self, image_shape: tuple[int, int, int]) -> None:
    """Raises ConfigError for an image of another size."""
    height, width, _ = image_shape
    if not self.fits(height, width):
      raise ConfigError(f"this network is for {self.words}, not {height}x{width}; take --config.data.image_size=32")


SQUARES = Sizes(
  "squares of 8, 16, 32, 64 ... pixels", lambda height, width: height == width >= 8 and not height & (height - 1)
)
FOURS = Sizes("multiples of 4 pixels", lambda height, width: not (height % 4 or width % 4))
