"""The contract of sample metrics: what they see of two sets of pictures, and what they give."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
from scipy import special

Need = Literal["features", "logits", "labels", "images"]


@dataclasses.dataclass(frozen=True)
class SampleSet:
  """Pictures of one origin as an extractor sees them, on the host; row i of everything is picture i.

  Attributes:
    images: uint8 [N, H, W, C]; of points, float32 [N, 1, 1, 2].
    features: float32 [N, D].
    logits: float32 [N, K] of the extractor, or None where it is no classifier.
    labels: int32 [N], the classes that pictures were drawn of or belong to; None of an unconditional model.
  """

  images: np.ndarray
  features: np.ndarray
  logits: np.ndarray | None = None
  labels: np.ndarray | None = None

  def __len__(self) -> int:
    return len(self.images)


@dataclasses.dataclass(frozen=True)
class Score:
  """One figure and how sure it is.

  Attributes:
    value: the figure of all samples.
    standard_error: of the value.
    method: where the error comes from, as in "100 subsets of 1000".
    about: what a record has beside these, by name.
    range: within which the figure lies by its definition.
    trials: of a share, of how many independent pictures it would have this error; 0 of another figure.
    freedom: degrees of freedom of the error, few where it is of a few groups or parts.
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
    """Of 95 %, within the range: Student's t times the error on either side, 1.96 of it where its freedom is large.

    That of a share is Wilson's (1927), which is not symmetric and does not shrink to nothing at 0 and 1.
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
    needs: what it reads of both sets.
    better: {name of a score: "min" or "max"}; a score that is no quality of its own is "".
  """

  @property
  def needs(self) -> frozenset[Need]: ...
  @property
  def better(self) -> dict[str, str]: ...

  def least(self) -> tuple[int, int]:
    """The smallest numbers of (real, fake) samples that it is defined for with these settings."""
    ...

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    """The scores of ``fake`` against ``real``, by name; the same for the same arguments.

    Raises:
      ValueError: arrays that it cannot use, naming what is wrong.
    """
    ...
