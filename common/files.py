"""Writes files atomically: if a kill or a full disk interrupts a write, the previous content stays."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
  """Opens a file for writing that replaces ``path`` at the end of the block; after an error ``path`` is unchanged."""
  partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
  try:
    with partial.open("wb") as file:
      yield file
    os.replace(partial, path)
  except BaseException as error:
    _name(error, path)
    with contextlib.suppress(OSError):
      partial.unlink()
    raise


def write(path: Path, content: str | bytes) -> None:
  """Replaces the content of ``path``."""
  with replacing(path) as file:
    file.write(content.encode() if isinstance(content, str) else content)


def append(path: Path, line: str) -> None:
  """Appends ``line`` and a newline; first removes an incomplete line that a kill left at the end."""
  with path.open("a+b", buffering=0) as file:
    size = file.seek(0, os.SEEK_END)
    if size and (file.seek(size - 1), file.read(1))[1] != b"\n":
      file.seek(0)
      file.truncate(file.read().rfind(b"\n") + 1)
    append_bytes(file, f"{line}\n".encode())


def append_bytes(file: BinaryIO, content: bytes) -> None:
  """Appends all of ``content``, or nothing, to a file opened in mode "ab" without a buffer."""
  start = file.seek(0, os.SEEK_END)
  try:
    while content:  # a full disk may accept a part before it fails
      content = content[file.write(content) :]
  except OSError as error:
    _name(error, file.name)
    file.truncate(start)
    raise


def _name(error: BaseException, path: Path | str) -> None:
  """Adds the path to an error, since a failing write does not name its file."""
  if isinstance(error, OSError):
    error.filename = str(path)
