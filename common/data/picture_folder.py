"""Decodes all pictures of a folder or an archive, by one thread a core."""

import dataclasses
import io
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np

from common.data.archive import Entry, entries
from common.data.picture_files import Picture, PictureError, Report, is_picture_suffix, read_picture
from common.errors import ConfigError

_SHOWN = 10  # damaged files that a text names
_AHEAD = 8  # pictures a thread that are read and not yet taken
_AHEAD_BYTES = 2**28  # of their files
_LARGEST = 2**30  # bytes of a file that is read
_EVERY = 5.0  # seconds between two lines on how far the work is

Say = Callable[[str], None]


class Progress:
  """Counts files, and says every few seconds how far the work is.

  Args:
    say: is told; None says nothing.
    total: number of files, 0 if it is not known.
  """

  def __init__(self, say: Say | None = None, total: int = 0):
    self._say, self._of = say, f" of {total:,}" if total else ""
    self._seen = self._kept = 0
    self._next = time.monotonic() + _EVERY

  def add(self, kept: int, seen: int = 1) -> None:
    """Counts ``seen`` more files, of which ``kept`` are pictures that can be read."""
    self._seen, self._kept = self._seen + seen, self._kept + kept
    if self._say and time.monotonic() >= self._next:
      left_out = self._seen - self._kept
      self._say(f"{self._seen:,}{self._of} files: {self._kept:,} pictures, {left_out:,} left out")
      self._next = time.monotonic() + _EVERY


@dataclasses.dataclass
class Pictures:
  """Decoded pictures, sorted by name.

  Attributes:
    names: paths below the folder or in the archive, with "/".
    pixels: uint8 [H, W, 1 or 3] of each; all are grey, or all are RGB.
    tables: the contents of the files that `read_pictures` was asked to keep, by their paths.
    report: counts of what was read, changed and left out.
    damaged: "name (reason)" of each picture that cannot be read.
  """

  names: list[str] = dataclasses.field(default_factory=list)
  pixels: list[np.ndarray] = dataclasses.field(default_factory=list)
  tables: dict[str, bytes] = dataclasses.field(default_factory=dict)
  report: Report = dataclasses.field(default_factory=Report)
  damaged: list[str] = dataclasses.field(default_factory=list)

  def add(self, other: "Pictures") -> None:
    """Appends the pictures of another place."""
    self.names += other.names
    self.pixels += other.pixels
    self.damaged += other.damaged
    self.tables |= other.tables

  @property
  def damage(self) -> str:
    """Says how many pictures cannot be read, and which; "" if all can."""
    if not self.damaged:
      return ""
    count = "1 picture" if len(self.damaged) == 1 else f"{len(self.damaged):,} pictures"
    more = f"; and {len(self.damaged) - _SHOWN:,} more" if len(self.damaged) > _SHOWN else ""
    return f"{count} cannot be read: {'; '.join(self.damaged[:_SHOWN])}{more}"


def decoded(
  files: Iterable[Entry],
  progress: Progress,
  background: int = 255,
  fit: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Iterator[tuple[str, Picture | PictureError | None]]:
  """Decodes files in their order, several at a time.

  Args:
    files: those of a folder or an archive.
    progress: counts them.
    background: the grey level on which transparent pixels are composited.
    fit: is applied to the pixels [H, W, C] of each picture as it is decoded, so that only its results are in memory.

  Yields:
    (name, the picture, or the reason why it cannot be read, or None for what is no picture).
  """
  threads = os.cpu_count() or 1
  waiting: deque[tuple[Entry, Future[Picture | PictureError | None]]] = deque()

  def decode(file: Entry, content: bytes) -> Picture | PictureError | None:
    try:
      picture = read_picture(io.BytesIO(content), PurePosixPath(file.name).suffix, background)
    except PictureError as error:
      return error
    return picture if picture is None or fit is None else dataclasses.replace(picture, pixels=fit(picture.pixels))

  def first() -> tuple[str, Picture | PictureError | None]:
    file, future = waiting.popleft()
    result = future.result()
    progress.add(isinstance(result, Picture))
    return file.name, result

  with ThreadPoolExecutor(threads) as pool:
    for file in files:
      waiting.append((file, Future()))
      if file.size > _LARGEST:
        large = PictureError(f"a file of {file.size / 2**30:.1f} GiB; at most {_LARGEST / 2**30:.0f} is read")
        waiting[-1][1].set_result(large if is_picture_suffix(PurePosixPath(file.name).suffix) else None)
        continue
      try:
        waiting[-1] = file, pool.submit(decode, file, file.read())
      except OSError as error:
        waiting[-1][1].set_result(PictureError(error.strerror or str(error)))
      while len(waiting) > _AHEAD * threads or sum(file.size for file, _ in waiting) > _AHEAD_BYTES:
        yield first()
    while waiting:
      yield first()


def read_pictures(
  root: Path,
  background: int = 255,
  *,
  fit: Callable[[np.ndarray], np.ndarray] | None = None,
  tables: Collection[str] = (),
  say: Say | None = None,
) -> Pictures:
  """Decodes the pictures of ``root``, a folder or an archive; ``background`` and ``fit`` are those of `decoded`.

  Args:
    root: what `common.data.archive.entries` reads.
    background: the grey level on which transparent pixels are composited.
    fit: is applied to the pixels of each picture.
    tables: names, or endings such as ".txt", of files that are no pictures and whose contents are kept.
    say: is told every few seconds how far the reading is.

  Raises:
    ConfigError: ``root`` has no pictures that can be read.
  """
  pictures = Pictures()

  def others() -> Iterator[Entry]:
    for file in entries(root, pictures.report.left_out):
      path = PurePosixPath(file.name)
      if path.name in tables or path.suffix in tables:
        pictures.tables[file.name] = file.read()
      else:
        yield file

  for name, picture in decoded(others(), Progress(say), background, fit):
    if isinstance(picture, PictureError):
      pictures.damaged.append(f"{name} ({picture})")
    elif picture is None:
      pictures.report.left_out[no_picture(name)] += 1
    else:
      pictures.report.add(picture)
      pictures.names.append(name)
      pictures.pixels.append(picture.pixels)
  if not pictures.names:
    reasons = "; ".join(filter(None, [str(pictures.report), pictures.damage]))
    arrays = any(".np" in reason for reason in pictures.report.left_out)
    way_out = 'the .npy itself, or a .npz with "images" and "labels"' if arrays else "a place that has some"
    raise ConfigError(f"{root} has no pictures{f' ({reasons})' if reasons else ''}; name {way_out}")
  order = sorted(range(len(pictures.names)), key=lambda i: pictures.names[i].split("/"))  # a tar has its own
  pictures.names = [pictures.names[i] for i in order]
  pictures.pixels = [pictures.pixels[i] for i in order]
  grey = [i for i, x in enumerate(pictures.pixels) if x.shape[2] == 1]
  if 0 < len(grey) < len(order):
    pictures.report.changes["grey among colour, as RGB"] = len(grey)
    for i in grey:
      pictures.pixels[i] = np.repeat(pictures.pixels[i], 3, axis=2)
  return pictures


def no_picture(name: str) -> str:
  """Returns the reason for which a file without a picture is counted as left out."""
  return f"no picture ({PurePosixPath(name).suffix.lower() or 'no suffix'})"
