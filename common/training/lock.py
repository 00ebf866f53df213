"""Allows one writer per workdir. Readers take no lock."""

import datetime
import json
import os
import socket
import weakref
from pathlib import Path
from typing import Any, NamedTuple

try:
  import fcntl
except ImportError:  # Windows
  fcntl = None  # type: ignore[assignment]
  import msvcrt

_FAR = 2**30  # Windows locks bytes, which others then cannot read: one beyond the owner's name


class LockedError(RuntimeError):
  """Another process writes to the workdir; the text names it and the way out."""


class Owner(NamedTuple):
  """The process that holds, or held, a lock; ``since`` is the ISO 8601 time (UTC) at which it took it."""

  host: str
  pid: int
  since: str


class WorkdirLock:
  """Holds ``workdir/lock`` by flock (on Windows by msvcrt.locking) for as long as the ``with`` block runs.

  The kernel releases the lock when its process dies in any way, so a dead owner's lock is taken over without guesses
  from pids or times. An orderly release leaves an empty file; a name in it means that the owner died.

  Attributes:
    previous: the owner that died without releasing the lock, or None.

  Raises:
    LockedError: on entry, at once, if another process (or another WorkdirLock of this one) holds it.
  """

  def __init__(self, workdir: Path):
    self.previous: Owner | None = None
    self._path = Path(workdir) / "lock"
    self._fd: int | None = None

  def __enter__(self) -> "WorkdirLock":
    self._path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)  # with CLOEXEC, so that no subprocess inherits it
    try:
      try:
        _take(fd)
      except (BlockingIOError, PermissionError):
        raise LockedError(_refusal(self._path, _read_owner(fd))) from None
      except OSError as error:
        raise LockedError(f"{self._path} cannot be locked ({error}); use a file system that has locks") from None
      self.previous = _read_owner(fd)
      if self.previous:  # delete what `common.files.replacing` left unfinished when it was killed
        for partial in self._path.parent.rglob(f".*.{self.previous.pid}.partial"):
          partial.unlink(missing_ok=True)
      now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
      _write(fd, json.dumps(Owner(socket.gethostname(), os.getpid(), now)._asdict()) + "\n")
    except BaseException:
      os.close(fd)
      raise
    self._fd = fd
    _HELD.add(self)
    return self

  def __exit__(self, *exc: Any) -> None:
    if self._fd is not None:  # None in a forked child
      _write(self._fd, "")
      self._close()

  def _close(self) -> None:
    fd, self._fd = self._fd, None
    if fd is not None:
      os.close(fd)


def _take(fd: int) -> None:
  """Raises BlockingIOError, on Windows PermissionError, if the lock is taken."""
  if fcntl:
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
  else:
    os.lseek(fd, _FAR, os.SEEK_SET)
    msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]


def _read_owner(fd: int) -> Owner | None:
  try:
    os.lseek(fd, 0, os.SEEK_SET)
    return Owner(**json.loads(os.read(fd, 4096)))
  except (ValueError, TypeError):  # empty, or a write cut short
    return None


def _write(fd: int, text: str) -> None:
  os.ftruncate(fd, 0)
  os.lseek(fd, 0, os.SEEK_SET)
  os.write(fd, text.encode())
  os.fsync(fd)


def _refusal(path: Path, owner: Owner | None) -> str:
  who = f"process {owner.pid} on {owner.host}, since {owner.since}" if owner else "another process"
  stop = f"stop it (kill {owner.pid} on {owner.host})" if owner else "stop it"
  return f"{path.parent} is being written by {who}; wait for its end, {stop}, or use another --workdir"


_HELD: "weakref.WeakSet[WorkdirLock]" = weakref.WeakSet()


def _close_in_child() -> None:
  # A forked child shares the open file and thus the lock, which would outlive its owner in a data worker.
  for lock in list(_HELD):
    lock._close()


if hasattr(os, "register_at_fork"):
  os.register_at_fork(after_in_child=_close_in_child)
