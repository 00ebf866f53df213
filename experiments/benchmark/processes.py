"""The parent's end of worker.py: a side that is asked one thing at a time."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class SideError(RuntimeError):
  """A side could not be built or could not answer; its own words."""


def environment(caches: Path) -> dict[str, str]:
  """Of a process that is measured: this machine's CPU, and its own place for compiled code."""
  return {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(caches / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "TORCHINDUCTOR_CACHE_DIR": str(caches / "torch"),
  }


class Side:
  """A worker past its first step.

  Attributes:
    seconds: from the start of the process to the end of its first training step.
  """

  def __init__(self, spec: Mapping[str, Any], scratch: Path, *, compiled: str = "compiled"):
    """Starts the worker and waits for its first step.

    Args:
      spec: of worker.py.
      scratch: a directory for what it says and for what it compiles.
      compiled: the folder in ``scratch`` for the latter; a new one is a cold start.

    Raises:
      SideError: it could not be built.
    """
    command = [sys.executable, "-m", "experiments.benchmark.worker", json.dumps(dict(spec))]
    self._words = scratch / f"{spec['side']}.log"
    started = time.monotonic()
    with self._words.open("wb") as log:
      self._process = subprocess.Popen(
        command,
        env=environment(scratch / compiled),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
      )
    self._answer()
    self.seconds = time.monotonic() - started

  def ask(self, command: str, **arguments: Any) -> Any:
    """What the worker's method ``command`` returns.

    Raises:
      SideError: it failed, and the worker has ended.
    """
    assert self._process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # the answer tells why
      self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
      self._process.stdin.flush()
    return self._answer()

  def _answer(self) -> Any:
    assert self._process.stdout is not None
    line = self._process.stdout.readline()
    if not line:
      self.close()
      last = self._words.read_text(errors="replace").strip().splitlines()[-1:]
      raise SideError(f"ended with code {self._process.returncode}: {''.join(last)[:300]}")
    reply = json.loads(line)
    if "error" in reply:
      self.close()
      raise SideError(reply["error"])
    return reply["result"]

  def close(self) -> None:
    """Ends the worker."""
    assert self._process.stdin is not None and self._process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.close()
    try:
      self._process.wait(20)
    except subprocess.TimeoutExpired:
      self._process.kill()
      self._process.wait()
    self._process.stdout.close()
