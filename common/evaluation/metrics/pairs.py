"""What metrics of pairs share: picture i of one set is compared with picture i of the other."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable
from typing import ClassVar

import numpy as np

from common.evaluation.metrics.estimate import estimate
from common.evaluation.metrics.score import Need, SampleSet, Score

# (offset, weights of R, G and B), all for values from 0 to 255 (ITU-R BT.601).
CHANNELS = {
  "rgb": None,  # every channel by itself
  "y": (16.0, (65.481 / 255, 128.553 / 255, 24.966 / 255)),  # MATLAB's rgb2ycbcr, from 16 to 235: errors shrink
  "grey": (0.0, (0.299, 0.587, 0.114)),
}


@dataclasses.dataclass(frozen=True)
class Paired:
  """The settings of a metric of pairs.

  Attributes:
    channel: what is compared: "rgb" (each channel that the pictures have), "y" (MATLAB's luma, in which errors are
      219/255 as large as in grey) or "grey". It is not rounded.
    border: pixels that are cut off each side first; papers on super-resolution cut as many as their scale.
    hole: whether only pixels in the hole count where pictures were restored from ones with a hole. Over whole pictures,
      those that were never missing flatter; a picture whose hole is empty is left out.
    draws: how many draws of a model are averaged for each picture, in 8 bits again; the mean of many is its best guess
      by squared error, where one draw is a likely picture.
  """

  channel: str = "rgb"
  border: int = 0
  hole: bool = True
  draws: int = 1
  needs: ClassVar[frozenset[Need]] = frozenset({"images", "pairs"})

  def __post_init__(self) -> None:
    if self.draws < 1:
      raise ValueError(f"draws={self.draws} must be 1 or more")
    if self.channel not in CHANNELS:
      raise ValueError(f'channel="{self.channel}" is not one of {", ".join(CHANNELS)}')

  def least(self) -> tuple[int, int]:
    return 2, 2

  def planes(self, images: np.ndarray) -> np.ndarray:
    """Returns the values from 0 to 255 that are compared, float64 [H', W', C'], of one image uint8 [H, W, C].

    Raises:
      ValueError: the image has no such channel, or the border leaves nothing of it.
    """
    height, width, channels = images.shape
    if min(height, width) <= 2 * self.border:
      raise ValueError(f"a border of {self.border} leaves nothing of {height}x{width} pixels; set a smaller border")
    inner = images[self.border : height - self.border, self.border : width - self.border].astype(np.float64)
    luma = CHANNELS[self.channel]
    if luma is None:
      return inner
    if channels != 3:
      raise ValueError(f'channel="{self.channel}" is made of 3 channels and the pictures have {channels}; use rgb')
    return luma[0] + inner @ np.asarray(luma[1])[:, None]

  def holes_of(self, fake: SampleSet) -> Iterable[np.ndarray | None]:
    """Returns the pixels that count in each picture without its border, bool [H', W'], or None for all."""
    return itertools.repeat(None) if fake.holes is None or not self.hole else map(self._inner, fake.holes)

  def _inner(self, hole: np.ndarray) -> np.ndarray:
    height, width = hole.shape
    return hole[self.border : height - self.border, self.border : width - self.border]

  def mean(
    self,
    real: SampleSet,
    fake: SampleSet,
    of: Callable[[np.ndarray, np.ndarray, np.ndarray | None], float],
    bounds: tuple[float, float],
  ) -> Score:
    """Returns the mean over all pairs of ``of`` (planes of one picture, planes of its partner, the hole or None).

    ``of`` returns NaN if no pixel of the hole counts.

    Raises:
      ValueError: sets of different sizes, no picture with a hole, or the errors of `planes` and ``of``.
    """
    if real.images.shape != fake.images.shape:
      raise ValueError(f"pictures of shape {fake.images.shape} and {real.images.shape} are no pairs")
    images = fake.images
    if fake.draws is not None and self.draws > 1:
      images = np.rint(np.mean(fake.draws[: self.draws], axis=0, dtype=np.float32)).astype(np.uint8)
    triples = zip(images, real.images, self.holes_of(fake), strict=False)
    return mean_over(np.asarray([of(self.planes(x), self.planes(y), hole) for x, y, hole in triples]), bounds, "pairs")


def mean_over(values: np.ndarray, bounds: tuple[float, float], what: str) -> Score:
  """Returns the mean of one value for each picture, [N], of those that are numbers.

  Raises:
    ValueError: none is.
  """
  if not np.any(np.isfinite(values)):
    raise ValueError("no picture has a hole that counts; set hole False to compare whole pictures")
  result = estimate(values[np.isfinite(values)])
  method = f"standard error of the mean over {result.count} {what}"
  return Score(result.mean, result.standard_error, method, range=bounds)
