"""What an augmentation of the images that the discriminator sees must offer."""

import dataclasses
from collections.abc import Callable

from common.types import Array, Images


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """A random map T, applied to real and to generated images alike before D, in the updates of both players.

  G learns the data's distribution, and not that of T(data), as long as T's effect on distributions can be undone
  (Karras et al. 2020, Section 2.2): no picture of real images may come out of T as another picture would.

  Attributes:
    apply: (images [B, H, W, C], keys [B], int32 updates of D so far) -> images [B, H, W, C]; row i depends on key i
      only, and gradients pass to the images.
    p: updates of D -> the probability to log, a scalar; None where it does not change.
  """

  apply: Callable[[Images, Array, Array], Images]
  p: Callable[[Array], Array] | None = None
