"""The part of a stored image that a model gets, and the shape of what is seen of it."""

from typing import Any

from common.build import within
from common.errors import ConfigError

Shape = tuple[int, int, int]  # (height, width, channels)


def window(shape: Shape, crop: int) -> Shape:
  """Returns the shape of a window of ``crop`` pixels a side; 0 takes the whole image."""
  return (crop, crop, shape[2]) if crop else shape


def seen_shape(data: Any, shape: Shape) -> Shape | None:
  """Returns the shape of the row "seen" of images of this shape, or None without config.data.degradation.

  Raises:
    ConfigError: the images do not go with crop, rotate or degradation.
  """
  size, side = f"the images have {shape[0]}x{shape[1]} pixels", min(shape[:2])
  if data.crop > side:
    raise ConfigError(f"config.data.crop={data.crop}: {size}; set --config.data.crop={side} or less")
  if data.rotate and shape[0] != shape[1] and not data.crop:
    ways_out = f"--config.data.rotate=False or --config.data.crop={side}"
    raise ConfigError(f"config.data.rotate=True is for square images, and {size}; set {ways_out}")
  if not data.degradation:
    return None
  from common.data.degradations import build_degradation  # it imports JAX, for which a wrong setting should not wait

  with within("data.degradation"):
    return build_degradation(data.degradation, data.quantise).shape(window(shape, data.crop))
