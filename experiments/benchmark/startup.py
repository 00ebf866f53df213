"""Seconds from the start of a process to the end of its first training step, cold and warm.

This project's process is ``python -m experiments.train`` itself, one step a call, up to its first line of metrics;
torch's is the worker. Warm finds on the disk what the cold start compiled.
"""

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from experiments.benchmark.cases import CASES
from experiments.benchmark.processes import ROOT, SideError, environment
from experiments.benchmark.rounds import Contest

_EACH_STEP = {"train.num_steps": 1, "train.steps_per_call": 1, "log.every": 1, "checkpoint.every": 1}
_NEVER = {"samples.every": 0, "evaluate.every": 0, "train.patience": 0}
TIME_LIMIT = 600.0


def measure(contest: Contest, variants: tuple[str, ...]) -> dict[str, dict[str, float]]:
  """{side: {"cold": s, "warm": s}} of a case; a side that cannot start is left out."""
  seconds: dict[str, dict[str, float]] = {}
  for name in ("jax", *variants):
    with contextlib.suppress(SideError):
      for start in ("cold", "warm"):
        compiled = f"{contest.name}-{name}"
        if name == "jax":
          seconds.setdefault(name, {})[start] = _train(contest, start, compiled)
        else:
          side = contest.side(name, compiled=compiled)
          seconds.setdefault(name, {})[start] = side.seconds
          side.close()
  return seconds


def _train(contest: Contest, start: str, compiled: str) -> float:
  """Starts the training command in a new workdir, and ends it after its first line of metrics.

  Raises:
    SideError: it ended, or the line did not come.
  """
  workdir = contest.plan.scratch / f"{compiled}-{start}"
  case = CASES[contest.name]
  overrides: dict[str, Any] = {**contest.overrides, **_EACH_STEP, **_NEVER}
  words = [f"--config.{path}={value}" for path, value in overrides.items()]
  command = [sys.executable, "-m", "experiments.train", f"--config={case.config}", f"--workdir={workdir}", *words]
  metrics, log = workdir / "metrics.jsonl", Path(f"{workdir}.log")
  begun = time.monotonic()
  with log.open("wb") as file:
    process = subprocess.Popen(
      command, env=environment(contest.plan.scratch / compiled), cwd=ROOT, stdout=file, stderr=file
    )
  try:
    while not (metrics.exists() and metrics.stat().st_size):
      if process.poll() is not None or time.monotonic() - begun > TIME_LIMIT:
        raise SideError(f"experiments.train did not reach its first step: {log.read_text()[-300:]}")
      time.sleep(0.002)
    return time.monotonic() - begun
  finally:
    process.kill()
    process.wait()
