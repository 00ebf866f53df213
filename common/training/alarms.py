"""Judges rules on logged metrics, and reports while a run trains what has gone wrong; no alarm stops a run."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import files
from common.algorithm import Alarm

FILE = "alarms.jsonl"  # in the workdir
FEWEST = 2  # lines on which a rule is judged: a single one may be chance

Raised = dict[
  str, Any
]  # a line of alarms.jsonl: step, signal, values (the metrics' means over the window), window, remedy


def message(raised: Raised) -> str:
  """Returns the line for the user."""
  values = ", ".join(f"{name} {value:.4g}" for name, value in raised["values"].items())
  return (
    f"alarm at step {raised['step']:,}: {raised['signal']} ({values} over the last {raised['window']:,} steps); "
    f"usual remedies: {raised['remedy']}"
  )


class Watch:
  """Judges a run's alarms line by line; raises one when its rule begins to hold, and again only after it did not hold.

  alarms.jsonl is a function of metrics.jsonl: a resumed run judges all lines anew, so its file equals that of a run
  without a pause.

  Args:
    alarms: the rules of the algorithm.
    workdir: contains metrics.jsonl, cut back to the step from which the run resumes.
    enabled: whether this process writes; otherwise nothing is judged.
  """

  def __init__(self, alarms: Iterable[Alarm], workdir: Path, *, enabled: bool):
    self._alarms, self._path = tuple(alarms) if enabled else (), workdir / FILE
    self._seen: dict[str, list[tuple[int, float]]] = {name: [] for alarm in self._alarms for name in alarm.metrics}
    self._longest = max((alarm.window for alarm in self._alarms), default=0)
    self._holding: set[str] = set()
    if enabled:
      lines = map(json.loads, (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
      raised = [each for line in lines for each in self._judge(line["step"], line["split"], line)]
      files.write(self._path, "".join(f"{json.dumps(each)}\n" for each in raised))

  def __call__(self, step: int, split: str, values: Mapping[str, Any]) -> list[Raised]:
    """Takes a line of metrics.jsonl; records and returns the alarms that it raises."""
    raised = self._judge(step, split, values)
    for each in raised:
      files.append(self._path, json.dumps(each))
    return raised

  def _judge(self, step: int, split: str, values: Mapping[str, Any]) -> list[Raised]:
    for name, seen in self._seen.items():
      of, _, metric = name.partition("/")
      if of == split and metric in values:
        seen.append((step, float(values[metric])))
        while len(seen) > FEWEST and seen[0][0] <= step - self._longest:
          del seen[0]
    raised = []
    for alarm in self._alarms:
      if not any(name.startswith(f"{split}/") for name in alarm.metrics):
        continue
      recent = {name: self._recent(name, step - alarm.window) for name in alarm.metrics}
      enough = step >= alarm.window and min(map(len, recent.values())) >= FEWEST
      if not (enough and alarm.rule(*recent.values())):
        self._holding.discard(alarm.signal)
      elif alarm.signal not in self._holding:
        self._holding.add(alarm.signal)
        means = {name: float(np.mean(x)) for name, x in recent.items()}
        record = {"step": step, "signal": alarm.signal, "values": means, "window": alarm.window}
        raised.append({**record, "remedy": alarm.remedy})
    return raised

  def _recent(self, name: str, since: int) -> np.ndarray:
    """Returns the metric's values after the step ``since``, or its last `FEWEST`."""
    seen = self._seen[name]
    count = max(sum(step > since for step, _ in seen), FEWEST)
    return np.array([value for _, value in seen[-count:]])
