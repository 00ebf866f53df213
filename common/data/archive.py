"""Reads the files of a folder, or of a zip or tar archive, one after the other."""

import contextlib
import functools
import os
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from common.errors import ConfigError

# Files that macOS, Windows and network disks leave in folders, in addition to names that begin with a dot.
_HIDDEN = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin")
SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")


def is_archive(path: Path) -> bool:
  """Whether the name of the file is that of an archive that `entries` reads."""
  return path.is_file() and path.name.lower().endswith(SUFFIXES)


class Entry(NamedTuple):
  """A file of a folder or an archive.

  Attributes:
    name: its path below the folder or in the archive, with "/".
    size: bytes.
    read: returns the content; of a tar it works until the next entry is taken.
  """

  name: str
  size: int
  read: Callable[[], bytes]


def entries(root: Path, left_out: Counter[str]) -> Iterator[Entry]:
  """Yields the files of a folder or an archive, or a file itself; those of a folder and a zip in the order of names.

  Hidden files, links out of an archive, and files that links reach twice are left out and counted in ``left_out``.

  Raises:
    ConfigError: ``root`` does not exist, or is a damaged or encrypted archive.
  """
  if root.is_dir():
    files, skipped = list_files(root)
    left_out.update(skipped)
    for file in files:
      size = file.stat().st_size if file.exists() else 0  # reading a broken link raises an error that names it
      yield Entry(file.relative_to(root).as_posix(), size, file.read_bytes)
    return
  if not root.is_file():
    raise ConfigError(f"{root} does not exist; name a folder, an archive ({', '.join(SUFFIXES)}) or a file")
  if not is_archive(root):
    yield Entry(root.name, root.stat().st_size, root.read_bytes)
    return
  unpack = _zip if root.name.lower().endswith(".zip") else _tar
  with _named(root):
    for name, size, read in unpack(root):
      if any(part.startswith(".") or part.lower() in _HIDDEN for part in PurePosixPath(name).parts):
        left_out["hidden"] += 1
      else:
        yield Entry(name, size, _named(root)(read))


@contextlib.contextmanager
def _named(root: Path) -> Iterator[None]:
  """Raises the errors of a damaged or encrypted archive as a ConfigError that names it."""
  try:
    yield
  except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, RuntimeError) as error:
    raise ConfigError(f"{root} cannot be read: {error}; pack it again") from None


def _zip(path: Path) -> Iterator[Entry]:
  with zipfile.ZipFile(path) as archive:
    for info in sorted(archive.infolist(), key=lambda info: info.filename.split("/")):
      if not info.is_dir():
        yield Entry(info.filename, info.file_size, functools.partial(archive.read, info))


def _tar(path: Path) -> Iterator[Entry]:
  with tarfile.open(path) as archive:
    for member in archive:
      if member.isfile() and (file := archive.extractfile(member)):
        yield Entry(member.name.removeprefix("./"), member.size, file.read)


def list_files(root: Path) -> tuple[list[Path], Counter[str]]:
  """Lists the files below a directory in the order of their names, and counts those left out, by reason.

  Links are followed. Hidden files are left out, and so are files that links reach a second time (loops, two links to
  one file).

  Raises:
    ConfigError: a directory cannot be listed.
  """
  files: list[Path] = []
  left_out: Counter[str] = Counter()
  seen = {os.path.realpath(root)}

  def visit(directory: Path) -> None:
    try:
      entries = sorted(directory.iterdir())
    except OSError as error:
      raise ConfigError(f"{directory} cannot be listed: {error.strerror}") from None
    for entry in entries:
      if entry.name.startswith(".") or entry.name.lower() in _HIDDEN:
        inside = entry.is_dir() and not entry.is_symlink()
        left_out["hidden"] += sum(len(names) for _, _, names in os.walk(entry)) if inside else 1
        continue
      real = os.path.realpath(entry)
      if real in seen:
        left_out["reached twice by links"] += 1
        continue
      seen.add(real)
      if os.path.isdir(real):
        visit(entry)
      elif os.path.isfile(real) or not os.path.exists(real):  # reading a broken link raises an error that names it
        files.append(entry)
      else:
        left_out["no regular file"] += 1

  visit(root)
  return files, left_out
