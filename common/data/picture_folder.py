"""Decodes all pictures of a folder or an archive, by one thread a core."""

import dataclasses
import io
import os
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np

from common.data.archive import entries
from common.data.picture_files import Picture, PictureError, Report, read_picture
from common.errors import ConfigError

_SHOWN = 10  # damaged files that a text names
_AHEAD = 8  # pictures a thread that are read and not yet taken


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

  @property
  def damage(self) -> str:
    """Says how many pictures cannot be read, and which; "" if all can."""
    if not self.damaged:
      return ""
    count = "1 picture" if len(self.damaged) == 1 else f"{len(self.damaged):,} pictures"
    more = f"; and {len(self.damaged) - _SHOWN:,} more" if len(self.damaged) > _SHOWN else ""
    return f"{count} cannot be read: {'; '.join(self.damaged[:_SHOWN])}{more}"


def read_pictures(
  root: Path,
  background: int = 255,
  *,
  fit: Callable[[np.ndarray], np.ndarray] | None = None,
  tables: Collection[str] = (),
) -> Pictures:
  """Decodes the pictures of ``root``, a folder or an archive.

  Args:
    root: what `common.data.archive.entries` reads.
    background: the grey level on which transparent pixels are composited.
    fit: is applied to the pixels [H, W, C] of each picture as it is decoded, so that only its results are in memory.
    tables: names of files that are no pictures and whose contents are kept.

  Raises:
    ConfigError: ``root`` has no pictures that can be read.
  """
  pictures = Pictures()
  waiting: deque[tuple[str, Future[Picture | None]]] = deque()
  threads = os.cpu_count() or 1

  def decode(name: str, content: bytes | OSError) -> Picture | None:
    if isinstance(content, OSError):
      raise PictureError(content.strerror or str(content))
    picture = read_picture(io.BytesIO(content), PurePosixPath(name).suffix, background)
    return picture if picture is None or fit is None else dataclasses.replace(picture, pixels=fit(picture.pixels))

  def take() -> None:
    name, future = waiting.popleft()
    try:
      picture = future.result()
    except PictureError as error:
      pictures.damaged.append(f"{name} ({error})")
      return
    if picture is None:
      pictures.report.left_out[f"no picture ({PurePosixPath(name).suffix.lower() or 'no suffix'})"] += 1
      return
    pictures.report.add(picture)
    pictures.names.append(name)
    pictures.pixels.append(picture.pixels)

  with ThreadPoolExecutor(threads) as pool:
    for name, content in entries(root, pictures.report.left_out):
      if PurePosixPath(name).name in tables and isinstance(content, bytes):
        pictures.tables[name] = content
        continue
      waiting.append((name, pool.submit(decode, name, content)))
      if len(waiting) > _AHEAD * threads:
        take()
    while waiting:
      take()
  if not pictures.names:
    reasons = "; ".join(filter(None, [str(pictures.report), pictures.damage]))
    raise ConfigError(f"{root} has no pictures{f' ({reasons})' if reasons else ''}")
  order = sorted(range(len(pictures.names)), key=lambda i: pictures.names[i].split("/"))
  pictures.names = [pictures.names[i] for i in order]
  pictures.pixels = [pictures.pixels[i] for i in order]
  grey = [i for i, x in enumerate(pictures.pixels) if x.shape[2] == 1]
  if 0 < len(grey) < len(order):
    pictures.report.changes["grey among colour, as RGB"] = len(grey)
    for i in grey:
      pictures.pixels[i] = np.repeat(pictures.pixels[i], 3, axis=2)
  return pictures
