"""One score as one JSON line that says what was measured, how, and of what."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from common.metrics.score import Score
from common.workdir import versions

FILE = "evaluations.jsonl"


def record(
  metric: str,
  score: Score | list[float],
  *,
  better: str,
  settings: dict[str, Any],
  protocol: dict[str, Any],
  source: dict[str, Any],
  seed: int,
) -> dict[str, Any]:
  """A line.

  Args:
    metric: full name of the score.
    score: its value and error (nan for one that is not known), or an array of figures without.
    better: "min", "max", or "" where neither is.
    settings: of the metric.
    protocol: all that must be the same where two scores are ranked.
    source: whose pictures or bounds these are: a run at a step, files, or real ones.
    seed: of samples, subsets and draws.
  """
  if isinstance(score, list):
    value, error, interval, method = score, None, None, ""
  else:
    known = math.isfinite(score.standard_error)
    value, method = score.value, score.method
    error, interval = (score.standard_error, list(score.interval)) if known else (None, None)
  return {
    "metric": metric,
    "value": value,
    "standard_error": error,
    "interval": interval,
    "interval_method": method,
    "better": better,
    "settings": settings,
    "protocol": protocol,
    "source": source,
    "seed": seed,
    "commit": versions()["commit"],
  }


def settings_of(metric: Any) -> dict[str, Any]:
  """The fields of a metric."""
  return dataclasses.asdict(metric)


def append(directory: Path, records: list[dict[str, Any]]) -> None:
  """Adds lines to evaluations.jsonl."""
  with (directory / FILE).open("a", encoding="utf-8") as file:
    file.writelines(json.dumps(line) + "\n" for line in records)
