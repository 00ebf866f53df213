"""Degradations by name: what is taken from an image, so that a model can learn to give it back."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from common import random
from common.build import build
from common.data.degradations.degradation import Degradation, Shape
from common.data.degradations.filters import GaussianBlur, MotionBlur
from common.data.degradations.grey import Grey
from common.data.degradations.jpeg import Jpeg
from common.data.degradations.masks import Box, Mask, Pixels, Strokes
from common.data.degradations.noise import GaussianNoise, PoissonNoise, Quantise
from common.data.degradations.real_esrgan import RealEsrgan
from common.data.degradations.resize import Resize
from common.errors import ConfigError
from common.types import Array, Images

DEGRADATIONS: dict[str, Callable[..., Degradation]] = {
  "resize": Resize,
  "gaussian_blur": GaussianBlur,
  "motion_blur": MotionBlur,
  "gaussian_noise": GaussianNoise,
  "poisson_noise": PoissonNoise,
  "quantise": Quantise,
  "jpeg": Jpeg,
  "grey": Grey,
  "box": Box,
  "strokes": Strokes,
  "pixels": Pixels,
  "real_esrgan": RealEsrgan,
}


@dataclasses.dataclass(frozen=True)
class Chain(Degradation):
  """Applies degradations one after the other; each has keys of its own."""

  steps: tuple[Degradation, ...]

  def shape(self, image_shape: Shape) -> Shape:
    for step in self.steps:
      image_shape = step.shape(image_shape)
    return image_shape

  def __call__(self, x: Images, keys: Array) -> Images:
    for number, step in enumerate(self.steps):
      x = step(x, random.row_stream(keys, f"degradation {number}"))
    return x


def build_degradation(sections: Sequence[Mapping[str, Any]], quantise: bool) -> Chain:
  """Builds the chain of ``config.data.degradation``, {name, **arguments} in their order.

  Args:
    sections: may be empty, for an image as it is.
    quantise: whether the result is rounded to 8 bits, as in a file.

  Raises:
    ConfigError: a section is wrong, or cuts a hole before another one changes the values.
  """
  field = "data.degradation"
  steps = tuple(build(DEGRADATIONS, section, f"{field}[{number}]") for number, section in enumerate(sections))
  for number, step in enumerate(steps[:-1]):
    if isinstance(step, Mask):
      name = sections[number]["name"]
      raise ConfigError(f'config.{field}[{number}]: "{name}" must be the last, for what follows would change its hole')
  return Chain((*steps, *([Quantise()] if quantise else [])))
