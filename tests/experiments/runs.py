"""Commands, in this process (cheap: JAX is there) or in processes of their own."""

import importlib
import json
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import ROOT
from experiments.command_line import compilation_cache
from experiments.command_line import flags as command_line

TIME_LIMIT = 400.0  # far beyond any need: a test that hangs should not hang for ever


def call(name: str, *words: object) -> int:
  """Runs ``python -m experiments.NAME WORDS`` in this process; returns the exit code."""
  module = importlib.import_module(f"experiments.{name}")
  with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
    patch.setattr(compilation_cache, "start", lambda status: None)  # the tests have one, for good
    patch.setattr(sys, "argv", [name, *map(str, words)])
    command_line.run(module.main, module.__doc__, module.define_flags, takes_config=name == "train")
  return stop.value.code


def start(name: str, *words: object, cwd: Path | None = None) -> "subprocess.Popen[str]":
  """Starts it in a process of its own, with warnings as errors."""
  return subprocess.Popen(
    [sys.executable, "-W", "error", "-m", f"experiments.{name}", *map(str, words)],
    env={**os.environ, "PYTHONPATH": str(ROOT)},
    cwd=cwd,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def free_port() -> int:
  """One to listen at, below those that the system gives to outgoing connections: it is still free a moment later."""
  while True:
    port = random.SystemRandom().randrange(20000, 32000)
    with socket.socket() as probe:
      if probe.connect_ex(("localhost", port)) != 0:
        return port


def end(process: "subprocess.Popen[str]", code: int = 0, seconds: float = TIME_LIMIT) -> tuple[str, str]:
  """stdout and stderr of a process that must exit with ``code``."""
  try:
    out, err = process.communicate(timeout=seconds)
  finally:
    process.kill()
  assert process.returncode == code, f"{process.args} exited with {process.returncode}\n{out}\n{err}"
  return out, err


def run(name: str, *words: object, cwd: Path | None = None, code: int = 0) -> tuple[str, str]:
  return end(start(name, *words, cwd=cwd), code)


def figures(workdir: Path) -> list[dict[str, float]]:
  """The lines of metrics.jsonl without the split's name."""
  lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  return [{name: value for name, value in line.items() if name != "split"} for line in lines]
