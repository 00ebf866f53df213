"""How far a picture lies from its partner as a network sees both: with the features lpips it is LPIPS."""

import dataclasses
import math
from typing import ClassVar

import numpy as np

from common.evaluation.metrics.pairs import mean_over
from common.evaluation.metrics.score import Need, SampleSet, Score


@dataclasses.dataclass(frozen=True)
class FeatureDistance:
  """The mean over the pairs of the squared distance of their features; unlike PSNR it does not favour blur."""

  needs: ClassVar[frozenset[Need]] = frozenset({"features", "pairs"})
  better: ClassVar[dict[str, str]] = {"feature_distance": "min"}

  def least(self) -> tuple[int, int]:
    return 2, 2

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    if real.features.shape != fake.features.shape:
      raise ValueError(f"features of shape {fake.features.shape} and {real.features.shape} are no pairs")
    squares = np.sum((real.features.astype(np.float64) - fake.features) ** 2, axis=1)
    return {"feature_distance": mean_over(squares, (0.0, math.inf), "pairs")}
