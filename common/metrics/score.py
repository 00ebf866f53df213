"""The contract of sample metrics: what they see of two sets of pictures, and what they give."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np

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
  """

  value: float
  standard_error: float
  method: str
  about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def interval(self) -> tuple[float, float]:
    """value -+ 1.96 standard errors: 95 % where the errors are normal."""
    return self.value - 1.96 * self.standard_error, self.value + 1.96 * self.standard_error


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
