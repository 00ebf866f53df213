"""The latents z that a generator starts from."""

import dataclasses

from common import random
from common.types import Array

BOUNDS = {"uniform": 1.0, "standard_uniform": 3.0**0.5}  # the variance of the second is 1


@dataclasses.dataclass(frozen=True)
class Latents:
  """Independent latents of one distribution.

  Attributes:
    size: latents of one image.
    prior: "normal" for N(0, 1), "uniform" for U[-1, 1), "standard_uniform" for U[-sqrt 3, sqrt 3).
  """

  size: int
  prior: str

  def draw(self, rng: Array, index: Array) -> Array:
    """Returns z [B, size] for the rows ``index`` [B]; row i depends on (rng, i) only."""
    keys = random.row_keys(random.stream(rng, "z"), index)
    if self.prior == "normal":
      return random.normal(keys, (self.size,))
    return random.uniform(keys, (self.size,), -BOUNDS[self.prior], BOUNDS[self.prior])
