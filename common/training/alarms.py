"""Rules on logged metrics that tell a person, while a run trains, what has gone wrong; none of them stops a run."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import files
from common.algorithm import Alarm

FILE = "alarms.jsonl"  # in the workdir
FEWEST = 2  # lines that a rule is judged on: one alone may be chance


@dataclasses.dataclass(frozen=True)
class Raised:
  """An alarm at a step, with each of its metrics' mean over the window."""

  step: int
  alarm: Alarm
  values: Mapping[str, float]

  @property
  def text(self) -> str:
    """The message for the user."""
    values = ", ".join(f"{name} {value:.4g}" for name, value in self.values.items())
    return (
      f"alarm at step {self.step:,}: {self.alarm.signal} ({values} over the last {self.alarm.window:,} steps); "
      f"usual remedies: {self.alarm.remedy}"
    )

  @property
  def line(self) -> str:
    """What alarms.jsonl has."""
    alarm = self.alarm
    record = {"step": self.step, "signal": alarm.signal, "values": self.values, "window": alarm.window}
    return json.dumps({**record, "remedy": alarm.remedy})


class Watch:
  """Judges a run's alarms line by line; one is raised when its rule begins to hold, and again only after it did not.

  alarms.jsonl is a function of metrics.jsonl: a run that goes on judges all lines anew, and so has the file of a run
  without a pause.

  Args:
    alarms: of what is trained.
    workdir: has metrics.jsonl, cut back to the step that the run goes on from.
    enabled: whether this process writes; else it judges nothing.
  """

  def __init__(self, alarms: Iterable[Alarm], workdir: Path, *, enabled: bool):
    self._alarms, self._path = tuple(alarms) if enabled else (), workdir / FILE
    self._seen: dict[str, list[tuple[int, float]]] = {name: [] for alarm in self._alarms for name in alarm.metrics}
    self._longest = max((alarm.window for alarm in self._alarms), default=0)
    self._holding: set[str] = set()
    if not enabled:
      return
    lines: list[str] = []
    for text in (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
      record = json.loads(text)
      lines += [raised.line for raised in self._judge(record["step"], record["split"], record)]
    files.write(self._path, "".join(f"{line}\n" for line in lines))

  def __call__(self, step: int, split: str, values: Mapping[str, Any]) -> list[Raised]:
    """Takes a line of metrics.jsonl; writes down, and returns, the alarms that it raises."""
    raised = self._judge(step, split, values)
    for each in raised:
      files.append(self._path, each.line)
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
        raised.append(Raised(step, alarm, {name: float(np.mean(x)) for name, x in recent.items()}))
    return raised

  def _recent(self, name: str, since: int) -> np.ndarray:
    """The metric's values after the step ``since``, or its last `FEWEST`."""
    seen = self._seen[name]
    count = max(sum(step > since for step, _ in seen), FEWEST)
    return np.array([value for _, value in seen[-count:]])
