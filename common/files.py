"""Files that are whole at any time: what a kill or a full disk interrupts leaves what was there before."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
  """A file to write, which takes the place of ``path`` at the end of the block; at an error nothing changes there."""
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
  """Puts ``content`` in the place of what ``path`` holds."""
  with replacing(path) as file:
    file.write(content.encode() if isinstance(content, str) else content)


def append(path: Path, line: str) -> None:
  """Adds a line, which brings no end of its own; half a line that a kill left at the end goes."""
  with path.open("a+b", buffering=0) as file:
    size = file.seek(0, os.SEEK_END)
    if size and (file.seek(size - 1), file.read(1))[1] != b"\n":
      file.seek(0)
      file.truncate(file.read().rfind(b"\n") + 1)
    append_bytes(file, f"{line}\n".encode())


def append_bytes(file: BinaryIO, content: bytes) -> None:
  """Adds all of ``content`` or nothing to a file that is open in mode "ab" without a buffer."""
  start = file.seek(0, os.SEEK_END)
  try:
    while content:  # a disk that fills up takes a part first, and refuses the rest
      content = content[file.write(content) :]
  except OSError as error:
    _name(error, file.name)
    file.truncate(start)
    raise


def _name(error: BaseException, path: Path | str) -> None:
  """A write that fails does not say of which file it was."""
  if isinstance(error, OSError):
    error.filename = str(path)
