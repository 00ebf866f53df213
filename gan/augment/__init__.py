"""What images go through before the discriminator sees them, by name; what each must offer is in policy.py."""

from collections.abc import Callable, Mapping
from typing import Any

from common import random
from common.build import build
from common.data.spec import Spec
from common.errors import ConfigError
from common.types import Array, Images
from gan.augment.diffaugment import diffaugment
from gan.augment.geometry import mirror
from gan.augment.pipeline import ada, scheduled
from gan.augment.policy import Augmentation


def none() -> Augmentation:
  """Images as they are."""
  return Augmentation(lambda x, rows, p: x)


def flip(p: float = 0.5) -> Augmentation:
  """Left to right with a fixed probability, real and generated images alike.

  At 1/2 D cannot tell an image from its mirror image, and G may make either: it leaks, as ``data.flip`` does.

  Args:
    p: probability of the mirror image.

  Raises:
    ConfigError: p outside [0, 1].
  """
  if not 0.0 <= p <= 1.0:
    raise ConfigError(f"p={p} must be in [0, 1]: it is a probability")

  def apply(x: Images, rows: Array, strength: Array) -> Images:
    return mirror(x, random.uniform(rows, ()) < p)

  return Augmentation(apply)


AUGMENTATIONS: dict[str, Callable[..., Augmentation]] = {
  "none": none,
  "flip": flip,
  "diffaugment": diffaugment,
  "ada": ada,
  "scheduled": scheduled,
}


def build_augmentation(section: Mapping[str, Any], spec: Spec) -> Augmentation:
  """The section ``config.augment`` for data of ``spec``.

  Raises:
    ConfigError: an unknown name, or arguments that it refuses.
  """
  return build(AUGMENTATIONS, section, "augment", pixel_range=tuple(spec.pixel_range))
