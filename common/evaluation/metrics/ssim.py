"""Structural similarity of pairs of pictures, at one scale and at five."""

import dataclasses
import math
from typing import ClassVar

import numpy as np
from scipy import ndimage

from common.evaluation.metrics.pairs import Paired
from common.evaluation.metrics.score import SampleSet, Score

RADIUS, SIGMA = 5, 1.5  # pixels: a window of 11x11
K1, K2, PEAK = 0.01, 0.03, 255.0
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the five scales, fine to coarse (Wang et al. 2003)


def similarity(x: np.ndarray, y: np.ndarray, where: np.ndarray | None = None) -> tuple[float, float]:
  """Returns the means of SSIM (Wang et al. 2004, Eq. 13) and of its factor of contrast and structure.

  The window is Gaussian and only its places inside the picture count; each channel is compared by itself.

  Args:
    x, y: [H, W, C] with values from 0 to 255.
    where: bool [H, W], the centres of the windows that count; None for all. The result is NaN if there are none.

  Raises:
    ValueError: pictures smaller than the window.
  """
  if min(x.shape[:2]) <= 2 * RADIUS:
    size = 2 * RADIUS + 1
    raise ValueError(f"the window of {size}x{size} does not fit in {x.shape[0]}x{x.shape[1]} pixels")

  def window(values: np.ndarray) -> np.ndarray:
    for axis in (0, 1):
      values = ndimage.gaussian_filter1d(values, SIGMA, axis, radius=RADIUS)
    return values[RADIUS:-RADIUS, RADIUS:-RADIUS]

  mean_x, mean_y = window(x), window(y)
  variances = window(x * x) - mean_x**2 + window(y * y) - mean_y**2
  covariance = window(x * y) - mean_x * mean_y
  structure = (2.0 * covariance + (K2 * PEAK) ** 2) / (variances + (K2 * PEAK) ** 2)
  luminance = (2.0 * mean_x * mean_y + (K1 * PEAK) ** 2) / (mean_x**2 + mean_y**2 + (K1 * PEAK) ** 2)
  whole = luminance * structure
  if where is not None:
    inside = where[RADIUS:-RADIUS, RADIUS:-RADIUS]
    if not inside.any():
      return math.nan, math.nan
    whole, structure = whole[inside], structure[inside]
  return float(np.mean(whole)), float(np.mean(structure))


def halved(x: np.ndarray) -> np.ndarray:
  """Averages 2x2 pixels, [H, W, C] -> [ceil(H / 2), ceil(W / 2), C]; an odd side repeats its last pixel first."""
  x = np.pad(x, ((0, x.shape[0] % 2), (0, x.shape[1] % 2), (0, 0)), mode="edge")
  return x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).mean(axis=(1, 3))


def multi_scale(x: np.ndarray, y: np.ndarray, where: np.ndarray | None = None) -> float:
  """Returns MS-SSIM (Wang et al. 2003, Eq. 7): structure at each scale, luminance at the last.

  A mean structure below 0, of which no root exists, counts as 0.

  Raises:
    ValueError: pictures whose fifth scale is smaller than the window, or a hole, which coarse scales blur.
  """
  if where is not None:
    raise ValueError("ms_ssim compares whole pictures; set hole False, or take ssim")
  least = 2 ** (len(WEIGHTS) - 1) * 2 * RADIUS + 1
  if min(x.shape[:2]) < least:
    raise ValueError(f"{len(WEIGHTS)} scales need {least}x{least} pixels, not {x.shape[0]}x{x.shape[1]}; take ssim")
  value = 1.0
  for scale, weight in enumerate(WEIGHTS):
    if scale:
      x, y = halved(x), halved(y)
    whole, structure = similarity(x, y)
    value *= max(whole if scale == len(WEIGHTS) - 1 else structure, 0.0) ** weight
  return value


@dataclasses.dataclass(frozen=True)
class Ssim(Paired):
  """The mean SSIM of the pairs (Wang et al. 2004)."""

  better: ClassVar[dict[str, str]] = {"ssim": "max"}

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    return {"ssim": self.mean(real, fake, lambda *pair: similarity(*pair)[0], (-1.0, 1.0))}


@dataclasses.dataclass(frozen=True)
class MultiScaleSsim(Paired):
  """The mean MS-SSIM of the pairs (Wang et al. 2003)."""

  better: ClassVar[dict[str, str]] = {"ms_ssim": "max"}

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    return {"ms_ssim": self.mean(real, fake, multi_scale, (0.0, 1.0))}
