"""How fast the steps between two log lines were, and who was waited for."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from common.training.log import memory_mb


class Clock:
  """Speed since the last log line, without the time of evaluations, drawings and saves.

  Attributes:
    step: where the last lap ended.
  """

  def __init__(self, step: int):
    self.step, self._start, self._waited = step, time.monotonic(), 0.0

  def calls(self, waited: float) -> None:
    """Adds seconds in which the host had nothing to do but wait for the device."""
    self._waited += waited

  @contextmanager
  def pause(self) -> Iterator[None]:
    """What happens in the block is no training: it does not count."""
    start = time.monotonic()
    yield
    self._start += time.monotonic() - start

  def lap(self, step: int, batch_size: int) -> dict[str, float]:
    """The figures since the last lap; stall is the share of time in which the host, not the device, was the slower."""
    seconds = max(time.monotonic() - self._start, 1e-9)
    rate = (step - self.step) / seconds
    figures = {
      "steps_per_second": rate,
      "images_per_second": rate * batch_size,
      "stall": max(0.0, 1.0 - self._waited / seconds),
      "memory_mb": memory_mb(),
    }
    self.step, self._start, self._waited = step, time.monotonic(), 0.0
    return figures
