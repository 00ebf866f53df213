"""The peak signal-to-noise ratio of pairs of pictures."""

import dataclasses
import math
from typing import ClassVar

import numpy as np

from common.evaluation.metrics.pairs import Paired
from common.evaluation.metrics.score import SampleSet, Score

PEAK = 255.0
CAP = 100.0  # dB, for equal pictures; those of bytes that differ score below it


def psnr(x: np.ndarray, y: np.ndarray, where: np.ndarray | None = None) -> float:
  """Returns 10 log10(255^2 / mean squared error) in dB of values from 0 to 255, CAP where it would be more.

  Args:
    x, y: [H, W, C].
    where: bool [H, W], the pixels that count; None for all. The result is NaN if there are none.
  """
  if where is not None:
    x, y = x[where], y[where]
  if not x.size:
    return math.nan
  error = float(np.mean((x - y) ** 2))
  return CAP if error == 0.0 else min(10.0 * math.log10(PEAK**2 / error), CAP)


@dataclasses.dataclass(frozen=True)
class Psnr(Paired):
  """The mean of `psnr` over the pairs: of decibels, not of squared errors."""

  better: ClassVar[dict[str, str]] = {"psnr": "max"}

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    return {"psnr": self.mean(real, fake, psnr, (0.0, CAP))}
