"""The loop's own data, saved with the state: sums since the last log line, and early stopping."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from common.types import Mean


class Totals:
  """Sums of `Mean`s on the host in float64, in the order they come: exact to the bit however they are cut up."""

  def __init__(self, sums: Mapping[str, Any] | None = None):
    self._sums = {name: (np.asarray(total, np.float64), float(count)) for name, (total, count) in (sums or {}).items()}

  def __bool__(self) -> bool:
    """Whether anything was added."""
    return bool(self._sums)

  def add(self, metrics: Mapping[str, Mean]) -> None:
    """Adds one step's metrics, already on the host."""
    for name, mean in metrics.items():
      total, count = self._sums.get(name, (0.0, 0.0))
      self._sums[name] = (total + np.asarray(mean.total, np.float64), count + float(mean.count))

  def means(self) -> dict[str, Any]:
    """{name: float, or a list where the metric is an array}; without what nothing was counted of."""
    return {name: (total / count).tolist() for name, (total, count) in self._sums.items() if count}

  def to_json(self) -> dict[str, Any]:
    return {name: (np.asarray(total).tolist(), count) for name, (total, count) in self._sums.items()}


@dataclasses.dataclass
class Progress:
  """
  Attributes:
    totals: sums since the last log line.
    best: the best validation score so far, which `best_step` had; None before the first.
    stale: evaluations without a better one that count towards ``train.patience``.
  """

  totals: Totals = dataclasses.field(default_factory=Totals)
  best: float | None = None
  best_step: int = 0
  stale: int = 0

  def take(self, score: float, step: int, mode: str) -> bool:
    """Whether a score is the best so far, by ``mode`` "min" or "max"; then it is kept, and patience starts anew."""
    sign = 1.0 if mode == "max" else -1.0
    if self.best is not None and sign * score <= sign * self.best:
      return False
    self.best, self.best_step, self.stale = score, step, 0
    return True

  def to_json(self) -> dict[str, Any]:
    return {**vars(self), "totals": self.totals.to_json()}

  @classmethod
  def from_json(cls, record: dict[str, Any]) -> "Progress":
    known = {field.name for field in dataclasses.fields(cls)}  # older versions wrote one more
    return cls(**{key: value for key, value in record.items() if key in known} | {"totals": Totals(record["totals"])})
