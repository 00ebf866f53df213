"""Trains in a process of its own, signals it at a chosen moment, and compares what two runs leave to the bit."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from common.parallel import make_mesh
from experiments import ROOT
from experiments.loading import load_run

# Twenty saves in a few seconds.
OFTEN = ("train.num_steps=200", "checkpoint.every=10", "log.every=5", "evaluate.every=50", "samples.every=100")
TIME_LIMIT = 600.0


class Fingerprint(NamedTuple):
  """What two runs must agree on: the last step, the sha256 of all leaves of the state, and that of metrics.jsonl."""

  step: int
  state: str
  metrics: str


def fingerprint(workdir: Path) -> Fingerprint:
  """Reads the last checkpoint in ``workdir``, as any reader would."""
  run, digest = load_run(workdir, "last", make_mesh()), hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(run.state):
    digest.update(f"{path} {leaf.dtype} {leaf.shape}".encode() + np.asarray(leaf).tobytes())
  return Fingerprint(run.step, digest.hexdigest(), hashlib.sha256((workdir / "metrics.jsonl").read_bytes()).hexdigest())


def start(workdir: Path, config: str) -> "subprocess.Popen[bytes]":
  """Starts training in a process of its own, whose output goes to ``workdir``.log."""
  words = [f"--config={config}", f"--workdir={workdir}", *(f"--config.{setting}" for setting in OFTEN)]
  with workdir.with_suffix(".log").open("ab") as log:
    command = [sys.executable, "-W", "error", "-m", "experiments.train", *words]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log)


def finish(workdir: Path, config: str) -> None:
  """Trains to the end by the same command; raises CalledProcessError where it cannot."""
  process = start(workdir, config)
  if code := process.wait(TIME_LIMIT):
    raise subprocess.CalledProcessError(code, process.args, output=workdir.with_suffix(".log").read_text()[-2000:])


def is_training(workdir: Path) -> bool:
  """Whether the first line of figures is written; from then on the run handles signals."""
  timing = workdir / "timing.jsonl"
  return timing.exists() and timing.stat().st_size > 0


def is_saving(workdir: Path) -> bool:
  """Whether a checkpoint is being written: some step has files but no manifest."""
  names = {path.name for path in (workdir / "checkpoints").glob("*")}
  return any(f"{name.partition('.')[0]}.json" not in names for name in names)


def wait_until(process: "subprocess.Popen[bytes]", condition: Callable[[], bool]) -> bool:
  """Whether the condition came true before the process ended."""
  limit = time.monotonic() + TIME_LIMIT
  while process.poll() is None and time.monotonic() < limit:
    if condition():
      return True
    time.sleep(0.001)
  return False


def disturb(workdir: Path, config: str, number: signal.Signals, *, after: float, saving: bool, times: int = 1) -> int:
  """Starts a run in a new workdir and signals it ``times`` times, 50 ms apart.

  Args:
    workdir: where the run goes; it must be new.
    config: as --config takes it.
    number: the signal.
    after: seconds from the first line of figures to the first signal.
    saving: whether to wait on for the next save.
    times: how many signals to send.

  Returns:
    The exit code.
  """
  process = start(workdir, config)
  wait_until(process, lambda: is_training(workdir))
  moment = time.monotonic() + after
  if wait_until(process, lambda: time.monotonic() >= moment and (not saving or is_saving(workdir))):
    for _ in range(times):
      process.send_signal(number)
      time.sleep(0.05)
  return process.wait(TIME_LIMIT)
