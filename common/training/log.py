"""The logs of a run: metrics.jsonl and TensorBoard per step, timing.jsonl by wall-clock time, and status lines."""

import contextlib
import json
import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import files
from common.training.event_file import EventFile

QUIET_SECONDS = 20.0  # a phase that prints nothing for this long reports that it is still running


class RunLog:
  """Writes the log files of one run.

  On resume metrics.jsonl is cut back to the restored step, so that it holds each step once.

  Args:
    workdir: the run's directory.
    step: where the run starts or goes on.
    enabled: whether this process writes; only process 0 does.
    whole: whether a line "train" at ``step`` stays; False if it is the last line of a run that ended between two
      regular ones, since the next line will cover its steps.
  """

  def __init__(self, workdir: Path, step: int, *, enabled: bool, whole: bool = True):
    self._enabled, self._metrics, self._timing = enabled, workdir / "metrics.jsonl", workdir / "timing.jsonl"
    if not enabled:
      return
    self._metrics.touch()
    _cut_back(self._metrics, step, whole)
    self._board = EventFile(workdir / "tensorboard", purge_step=step + 1)  # an earlier start may have come further

  def write(self, step: int, split: str, values: Mapping[str, Any]) -> None:
    """Writes the figures of ``split`` at ``step``; lists (one figure per dimension) stay out of TensorBoard."""
    if not self._enabled:
      return
    files.append(self._metrics, json.dumps({"step": step, "split": split, **values}))
    single = {f"{split}/{name}": value for name, value in values.items() if not isinstance(value, list)}
    self._board.scalars(step, single)

  def timing(self, step: int, values: Mapping[str, float]) -> None:
    if self._enabled:
      files.append(self._timing, json.dumps({"step": step, "time": round(time.time(), 3), **values}))

  def image(self, step: int, name: str, png: bytes, shape: tuple[int, int, int]) -> None:
    """Writes the bytes of a PNG file of ``shape`` [H, W, C] for TensorBoard."""
    if self._enabled:
      self._board.image(step, name, png, shape)

  def sync(self) -> None:
    """Flushes the metrics to the disk, so that they are there before the checkpoint that relies on them."""
    if self._enabled:
      with self._metrics.open("a") as file:
        os.fsync(file.fileno())

  def close(self) -> None:
    if self._enabled:
      self._board.close()


def _cut_back(path: Path, step: int, whole: bool) -> None:
  """Drops records after ``step`` (the training record at it too, unless ``whole``), and damaged lines."""
  kept = []
  for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
    try:
      record = json.loads(line) if line.endswith("\n") else {"step": math.inf}
      if record["step"] < step or (record["step"] == step and (whole or record["split"] != "train")):
        kept.append(line)
    except (ValueError, TypeError, KeyError):  # a damaged line
      continue
  files.write(path, "".join(kept))


class Status:
  """Prints lines for the user on stderr; never silent for 30 s within a `phase`."""

  def __init__(self, *, enabled: bool):
    self._enabled = enabled
    self._last = time.monotonic()
    self._lock = threading.Lock()

  def line(self, text: str) -> None:
    if self._enabled:
      with self._lock, contextlib.suppress(OSError):  # without a reader, or with a full disk, the run goes on
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
      self._last = time.monotonic()

  @contextmanager
  def phase(self, describe: str | Any) -> Iterator[None]:
    """Prints ``describe`` (a text, or a function that returns one) whenever the block has been quiet for long."""
    start, done = time.monotonic(), threading.Event()

    def watch() -> None:
      while not done.wait(1.0):
        if time.monotonic() - self._last > QUIET_SECONDS:
          text = describe if isinstance(describe, str) else describe()
          self.line(f"{text} (working for {time.monotonic() - start:.0f} s)")

    thread = threading.Thread(target=watch, daemon=True)
    if self._enabled:
      thread.start()
    try:
      yield
    finally:
      done.set()
      if self._enabled:
        thread.join()


def memory_mb() -> float:
  """Returns the memory in use on the first accelerator if JAX knows it, else by this process; 0 if neither is known."""
  import jax

  stats = jax.local_devices()[0].memory_stats()
  if stats and "bytes_in_use" in stats:
    return stats["bytes_in_use"] / 2**20
  try:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
  except OSError:  # not Linux: the peak is the best portable figure
    try:
      import resource
    except ImportError:  # Windows
      return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
