"""One score as one JSON line that says what was measured, how, and of what."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import files
from common.evaluation.metrics.score import Score
from common.training.workdir import versions

FILE = "evaluations.jsonl"
PER_IMAGE = "per_image"


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
  figure = score if isinstance(score, Score) else None
  known = figure if figure and math.isfinite(figure.standard_error) else None
  return {
    "metric": metric,
    "value": figure.value if figure else score,
    "standard_error": known.standard_error if known else None,
    "interval": list(known.interval) if known else None,
    "interval_method": figure.method if figure else "",
    **(figure.about if figure else {}),
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


def keep_per_image(
  workdir: Path,
  metric: str,
  step: int,
  values: Mapping[str, np.ndarray],
  protocol: dict[str, Any],
  settings: dict[str, Any],
  seed: int,
) -> None:
  """Writes one value for each image, [N], for paired differences with other models; with what makes two comparable."""
  directory = workdir / PER_IMAGE
  directory.mkdir(exist_ok=True)
  about = json.dumps({"protocol": protocol, "settings": settings, "seed": seed}, sort_keys=True)
  kind = hashlib.sha256(about.encode()).hexdigest()[:8]
  arrays: dict[str, Any] = {"about": np.array(about), **values}
  with files.replacing(directory / f"{metric}-{kind}-{step:08d}.npz") as file:
    np.savez(file, **arrays)


def append(directory: Path, line: dict[str, Any]) -> None:
  """Adds a line to evaluations.jsonl."""
  files.append(directory / FILE, json.dumps(line))
