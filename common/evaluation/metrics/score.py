"""The contract of sample metrics: their input, two sets of images, and their output, scores."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from scipy import special

Need = Literal["features", "logits", "labels", "images", "pairs", "captions", "draws"]


@dataclasses.dataclass(frozen=True)
class SampleSet:
  """Images of one origin with their features, on the host; row i of every array belongs to image i.

  Attributes:
    images: uint8 [N, H, W, C]; float32 [N, 1, 1, 2] for points.
    features: float32 [N, D].
    logits: float32 [N, K], or None if the extractor is not a classifier.
    labels: int32 [N], the classes of the images; None for an unconditional model.
    captions: [N], those of real images; None if they have none, or if no metric reads them.
    holes: bool [N, H, W], True where a restored image had no pixels; None if it was not made of an image with a hole.
    draws: uint8 [k, N, H, W, C], k images that a model drew for each example, the first of which are ``images``; None
      unless a metric asks for several.
  """

  images: np.ndarray
  features: np.ndarray
  logits: np.ndarray | None = None
  labels: np.ndarray | None = None
  captions: Sequence[str] | None = None
  holes: np.ndarray | None = None
  draws: np.ndarray | None = None

  def __len__(self) -> int:
    return len(self.images)


@dataclasses.dataclass(frozen=True)
class Score:
  """A score and its uncertainty.

  Attributes:
    value: the score of all samples.
    standard_error: of the value.
    method: the source of the error, as in "100 subsets of 1000".
    about: further entries of the record, by name.
    range: bounds that follow from the score's definition.
    trials: for a share, the number of independent images with which it would have this error; 0 otherwise.
    freedom: degrees of freedom of the error; few if it comes from a few groups or parts.
  """

  value: float
  standard_error: float
  method: str
  about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  range: tuple[float, float] = (-math.inf, math.inf)
  trials: float = 0.0
  freedom: float = math.inf

  @property
  def interval(self) -> tuple[float, float]:
    """The 95 % interval within the range: Student's t times the error on either side, 1.96 errors for large freedom.

    A share has Wilson's (1927) interval, which is not symmetric and does not vanish at 0 and 1.
    """
    t = float(special.stdtrit(min(self.freedom, 1e9), 0.975))
    middle, reach = self.value, t * self.standard_error
    if self.trials:
      whole = 1.0 + t**2 / self.trials
      middle = (self.value + t**2 / (2.0 * self.trials)) / whole
      variance = self.value * (1.0 - self.value) / self.trials
      reach = t / whole * math.sqrt(variance + (t / (2.0 * self.trials)) ** 2)
    return max(self.range[0], middle - reach), min(self.range[1], middle + reach)


class SampleMetric(Protocol):
  """A frozen dataclass whose fields are its settings, each with a default.

  Attributes:
    needs: the fields of both sets that it reads; one with a setting ``draws`` gets as many draws of each image.
    better: {name of a score: "min" or "max"}; "" for a score that is not a quality by itself.
  """

  @property
  def needs(self) -> frozenset[Need]: ...
  @property
  def better(self) -> dict[str, str]: ...

  def least(self) -> tuple[int, int]:
    """Returns the smallest numbers of (real, fake) samples for which it is defined with these settings."""
    ...

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    """Returns the scores of ``fake`` against ``real``, by name; a pure function of the arguments.

    Raises:
      ValueError: arrays that it cannot use; the message says why.
    """
    ...
