"""How far apart several draws of a model for one input lie: what it is given may have more than one right answer."""

import dataclasses
import itertools
import math
from typing import ClassVar

import numpy as np

from common.evaluation.metrics.pairs import Paired, mean_over
from common.evaluation.metrics.psnr import PEAK
from common.evaluation.metrics.score import Need, SampleSet, Score


def spread(draws: list[np.ndarray], where: np.ndarray | None = None) -> float:
  """Returns the mean over all pairs of draws [H, W, C] of their root mean squared difference.

  ``where``, bool [H, W], are the pixels that count; None for all. The result is NaN if there are none.
  """
  if where is not None:
    draws = [draw[where] for draw in draws]
  if not draws[0].size:
    return math.nan
  return float(np.mean([np.sqrt(np.mean((x - y) ** 2)) for x, y in itertools.combinations(draws, 2)]))


@dataclasses.dataclass(frozen=True)
class Diversity(Paired):
  """The mean over the inputs of `spread`, in grey levels of 255; 0 if a model ignores its latents.

  Its settings are those of `Paired`, but that ``draws`` are compared with each other.
  """

  draws: int = 5
  needs: ClassVar[frozenset[Need]] = frozenset({"images", "draws"})
  better: ClassVar[dict[str, str]] = {"diversity": ""}

  def __post_init__(self) -> None:
    super().__post_init__()
    if self.draws < 2:
      raise ValueError(f"draws={self.draws} must be 2 or more, for distances of pairs")

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    assert fake.draws is not None
    each = zip(np.moveaxis(fake.draws[: self.draws], 0, 1), self.holes_of(fake), strict=False)
    values = np.asarray([spread([self.planes(draw) for draw in draws], hole) for draws, hole in each])
    return {"diversity": mean_over(values, (0.0, PEAK), f"inputs of {self.draws} draws")}
