"""What surrounds the calls of the compiled step: sums, early stopping, speed, a trace, and requests to stop."""

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from common.training.log import memory_mb
from common.types import Mean


class Totals:
  """Sums `Mean`s on the host in float64, in the order in which they come; saving and restoring changes no bit."""

  def __init__(self, sums: Mapping[str, Any] | None = None):
    self._sums = {name: (np.asarray(total, np.float64), float(count)) for name, (total, count) in (sums or {}).items()}

  def __bool__(self) -> bool:
    return bool(self._sums)

  def add(self, metrics: Mapping[str, Mean]) -> None:
    """Adds the metrics of one step, already on the host."""
    for name, mean in metrics.items():
      total, count = self._sums.get(name, (0.0, 0.0))
      self._sums[name] = (total + np.asarray(mean.total, np.float64), count + float(mean.count))

  def means(self) -> dict[str, Any]:
    """Returns {name: float, or a list if the metric is an array}, without metrics whose count is 0."""
    return {name: (total / count).tolist() for name, (total, count) in self._sums.items() if count}

  def to_json(self) -> dict[str, Any]:
    return {name: (np.asarray(total).tolist(), count) for name, (total, count) in self._sums.items()}


@dataclasses.dataclass
class Progress:
  """The loop's own data, which are saved with the state.

  Attributes:
    totals: sums since the last log line.
    best: the best validation score so far, reached at ``best_step``; None before the first.
    stale: number of evaluations without a better score that count towards ``train.patience``.
  """

  totals: Totals = dataclasses.field(default_factory=Totals)
  best: float | None = None
  best_step: int = 0
  stale: int = 0

  def improves(self, score: float, step: int, mode: str) -> bool:
    """Returns whether a score is the best so far, by ``mode`` "min" or "max"; if so, keeps it and resets patience."""
    sign = 1.0 if mode == "max" else -1.0
    if self.best is not None and sign * score <= sign * self.best:
      return False
    self.best, self.best_step, self.stale = score, step, 0
    return True

  def to_json(self) -> dict[str, Any]:
    return {**vars(self), "totals": self.totals.to_json()}

  @classmethod
  def from_json(cls, record: Mapping[str, Any]) -> "Progress":
    return cls(**{**record, "totals": Totals(record["totals"])})


class Clock:
  """Measures the speed of training since the last log line, without evaluations, pictures and saves.

  Attributes:
    step: the step at which the last lap ended.
    waited: seconds since then in which the host only waited for the device.
  """

  def __init__(self, step: int):
    self._begin(step)

  def _begin(self, step: int) -> None:
    self.step, self.waited, self._start = step, 0.0, time.monotonic()

  @contextmanager
  def pause(self) -> Iterator[None]:
    """Excludes the time of the block."""
    start = time.monotonic()
    yield
    self._start += time.monotonic() - start

  def lap(self, step: int, batch_size: int) -> dict[str, float]:
    """Returns the figures since the last lap; "stall" is the share of time in which the device waited for the host."""
    seconds = max(time.monotonic() - self._start, 1e-9)
    rate = (step - self.step) / seconds
    stall = max(0.0, 1.0 - self.waited / seconds)
    self._begin(step)
    return {
      "steps_per_second": rate,
      "images_per_second": rate * batch_size,
      "stall": stall,
      "memory_mb": memory_mb(),
    }


class Profile:
  """Traces the steps start + 1 .. stop of one process; as a context, it ends a trace that an exception leaves open.

  Several processes may share a host, and with it the name of jax.profiler's file, so each writes to its own folder.

  Args:
    steps: (start, stop), steps between calls; None for no trace.
    directory: where the trace goes.
    report: called with a line for the user.
  """

  def __init__(self, steps: tuple[int, int] | None, directory: Path, report: Callable[[str], None]):
    self._steps, self._report, self._running = steps, report, False
    self._directory = directory / f"process_{jax.process_index()}" if jax.process_count() > 1 else directory

  def due(self, step: int) -> bool:
    """Returns whether a trace begins or ends at ``step``; the device should be idle when `switch` is called."""
    return self._steps is not None and step == self._steps[self._running]

  def switch(self) -> None:
    """Begins the trace, or ends it."""
    assert self._steps is not None
    if not self._running:
      jax.profiler.start_trace(self._directory)
      self._running = True
      return
    (start, stop), self._steps = self._steps, None
    self.__exit__()
    self._report(
      f"trace of the steps {start + 1:,} to {stop:,} in {self._directory}: open its *.trace.json.gz at "
      f"https://ui.perfetto.dev, or tensorboard --logdir={self._directory} with the package xprof"
    )

  def __enter__(self) -> "Profile":
    return self

  def __exit__(self, *exc: Any) -> None:
    if self._running:
      jax.profiler.stop_trace()
      self._running = False


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
  """Turns SIGTERM and SIGINT into a flag while the block runs; after the first signal they stay without effect.

  With several processes JAX handles SIGTERM and agrees on a common step, so Ctrl-C is passed on as SIGTERM.
  """
  requested, several = threading.Event(), jax.process_count() > 1

  def handle(number: int, frame: Any) -> None:
    if several:
      os.kill(os.getpid(), signal.SIGTERM)
    else:
      requested.set()

  watched = [signal.SIGINT] if several else [signal.SIGINT, signal.SIGTERM]
  if threading.current_thread() is not threading.main_thread():
    watched = []  # only the main thread may set handlers
  before = {number: signal.signal(number, handle) for number in watched}
  try:
    yield requested
  finally:
    if not requested.is_set():  # otherwise a second signal could still interrupt what follows
      for number, handler in before.items():
        signal.signal(number, handler)
