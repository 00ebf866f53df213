"""What images go through before the discriminator sees them, by name; policy.py says what each must offer."""

from collections.abc import Callable

from gan.augment.diffaugment import diffaugment
from gan.augment.pipeline import scheduled
from gan.augment.policy import Augmentation


def none() -> Augmentation:
  """Leaves images as they are."""
  return Augmentation(lambda x, keys, updates: x)


AUGMENTATIONS: dict[str, Callable[..., Augmentation]] = {
  "none": none,
  "diffaugment": diffaugment,
  "scheduled": scheduled,
}
