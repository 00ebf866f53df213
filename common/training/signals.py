"""SIGTERM and Ctrl-C as a request to stop at the next call."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
  """Turns SIGTERM and SIGINT into a flag while the block runs; from the first on, they do nothing more for good.

  With several processes JAX owns SIGTERM and agrees on a common step, so Ctrl-C is passed on as one.
  """
  requested = threading.Event()
  several = jax.process_count() > 1

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
    if not requested.is_set():  # else a second one could still hit what follows
      for number, handler in before.items():
        signal.signal(number, handler)
