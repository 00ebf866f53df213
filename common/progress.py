"""What the loop carries besides the state, and saves with it: sums since the last log line, and early stopping."""

import dataclasses
from typing import Any

from common.evaluate import Totals


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
