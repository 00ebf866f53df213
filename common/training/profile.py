"""A trace of some steps of a run, for Perfetto or TensorBoard."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax


class Profile:
  """Traces the steps start + 1 .. stop of one process; as a context, it ends a trace that an exception leaves open.

  Several processes, which may share a host and with it jax.profiler's file name, write to a folder each.

  Args:
    steps: (start, stop), steps between calls; None for no trace.
    directory: where the trace goes.
    report: what is called with a line for a person.
  """

  def __init__(self, steps: tuple[int, int] | None, directory: Path, report: Callable[[str], None]):
    self._steps, self._report, self._running = steps, report, False
    several = jax.process_count() > 1
    self._directory = directory / f"process_{jax.process_index()}" if several else directory

  def due(self, step: int) -> bool:
    """Whether a trace begins or ends at ``step``: the device should have nothing left to do before `at`."""
    return self._steps is not None and step == self._steps[self._running]

  def at(self, step: int) -> None:
    """Begins or ends the trace where it is due."""
    if self._steps is None or not self.due(step):
      return
    if not self._running:
      jax.profiler.start_trace(self._directory)
      self._running = True
      return
    first = self._steps[0] + 1
    self._end()
    self._report(
      f"trace of the steps {first:,} to {step:,} in {self._directory}: open its *.trace.json.gz at "
      f"https://ui.perfetto.dev, or tensorboard --logdir={self._directory} with the package xprof"
    )

  def _end(self) -> None:
    if self._running:
      jax.profiler.stop_trace()
      self._steps, self._running = None, False

  def __enter__(self) -> "Profile":
    return self

  def __exit__(self, *exc: Any) -> None:
    self._end()
