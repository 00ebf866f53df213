"""One writer a workdir: refusal, takeover, and no leak into children."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.training.lock import LockedError, WorkdirLock

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}

_HOLD = """
import sys, time
from common.training.lock import WorkdirLock
with WorkdirLock(sys.argv[1]):
  print("held", flush=True)
  time.sleep(60)
"""


def _holder(workdir: Path) -> subprocess.Popen[str]:
  command = [sys.executable, "-c", _HOLD, str(workdir)]
  process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
  assert process.stdout is not None and process.stdout.readline() == "held\n"
  return process


def test_second_process_is_refused_and_a_dead_one_taken_over(tmp_path):
  with _holder(tmp_path) as process:
    start = time.monotonic()
    with pytest.raises(LockedError, match=rf"process {process.pid} on \S+, since \d{{4}}-.*--workdir"):
      WorkdirLock(tmp_path).__enter__()
    assert time.monotonic() - start < 1.0
    process.send_signal(signal.SIGKILL)
  (tmp_path / "best").mkdir()
  left = [tmp_path / f".a.json.{process.pid}.partial", tmp_path / "best" / f".b.npz.{process.pid}.partial"]
  for partial in (*left, tmp_path / f".c.json.1{process.pid}.partial"):
    partial.touch()
  with WorkdirLock(tmp_path) as lock:
    assert lock.previous is not None and lock.previous.pid == process.pid
    assert [path.name for path in tmp_path.rglob("*.partial")] == [f".c.json.1{process.pid}.partial"]  # another's
    assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_a_lock_is_held_once_and_released_in_order_also_after_an_error(tmp_path):
  for _ in range(2):
    with pytest.raises(KeyError), WorkdirLock(tmp_path / "run") as lock:
      assert lock.previous is None
      for _ in range(2):  # a refused attempt does not take the lock away
        with pytest.raises(LockedError, match=str(os.getpid())):
          WorkdirLock(tmp_path / "run").__enter__()
      raise KeyError


def test_an_unreadable_owner_is_no_obstacle(tmp_path):
  (tmp_path / "lock").write_text('{"host": "a", "pi')
  with WorkdirLock(tmp_path) as lock:
    assert lock.previous is None


_ORPHANS = """
import os, subprocess, sys, time
from common.training.lock import WorkdirLock
lock = WorkdirLock(sys.argv[1]).__enter__()
quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
orphan = subprocess.Popen(["sleep", "30"], close_fds=False, **quiet).pid
fork = os.fork()
if fork == 0:
  os.close(1)
  time.sleep(30)
print(orphan, fork, flush=True)
os.kill(os.getpid(), 9)
"""


def test_lock_does_not_live_on_in_children(tmp_path):
  command = [sys.executable, "-c", _ORPHANS, str(tmp_path)]
  run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=ENVIRONMENT)
  children = [int(pid) for pid in run.stdout.split()]
  try:
    assert len(children) == 2
    for pid in children:
      os.kill(pid, 0)  # both live
    with WorkdirLock(tmp_path) as lock:
      assert lock.previous is not None
  finally:
    for pid in children:
      os.kill(pid, signal.SIGKILL)


_WITHOUT_FCNTL = """
import errno, fcntl, logging, os, random, sys, types

def locking(fd, mode, size):
  assert (mode, size) == (2, 1)
  try:
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    raise PermissionError(errno.EACCES, "Permission denied")

windows = types.ModuleType("msvcrt")
windows.locking, windows.LK_NBLCK = locking, 2
sys.modules["msvcrt"], sys.modules["fcntl"], sys.modules["resource"] = windows, None, None
del os.register_at_fork, os.pread, os.pwrite
import experiments.evaluate, experiments.sample, experiments.train
from common.training.lock import LockedError, WorkdirLock
with WorkdirLock(sys.argv[1]) as first:
  try:
    WorkdirLock(sys.argv[1]).__enter__()
  except LockedError as error:
    print(error)
with WorkdirLock(sys.argv[1]) as second:
  print(first.previous, second.previous)
"""


def test_without_fcntl_as_on_windows(tmp_path):
  command = [sys.executable, "-c", _WITHOUT_FCNTL, str(tmp_path)]
  out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=ENVIRONMENT).stdout.splitlines()
  assert "is being written by process" in out[0] and out[1:] == ["None None"]
