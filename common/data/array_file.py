"""An array in a .npy file, or stored in a .npz without compression, whose rows are read when they are asked for.

Rows are read and not mapped into memory: a file that is cut off or removed meanwhile gives an error and not a crash.
"""

import dataclasses
import math
from pathlib import Path
from typing import BinaryIO

import numpy as np

from common.errors import ConfigError

_LOCAL_HEADER = 30  # bytes of a member's header in a zip file before its name and extra field


@dataclasses.dataclass(frozen=True)
class ArrayFile:
  """An array [N, ...] of ``dtype`` that begins at byte ``offset``; indexing with positions int [n] reads these rows."""

  path: Path
  shape: tuple[int, ...]
  dtype: np.dtype
  offset: int

  def __len__(self) -> int:
    return self.shape[0]

  @property
  def nbytes(self) -> int:
    return math.prod(self.shape) * self.dtype.itemsize

  def __getitem__(self, rows: np.ndarray) -> np.ndarray:
    """Reads rows, [n, ...].

    Raises:
      ConfigError: the file is gone or too short.
    """
    values = np.empty((len(rows), *self.shape[1:]), self.dtype)
    content = values.reshape(len(rows), math.prod(self.shape[1:])).view(np.uint8)
    stops = [*(np.flatnonzero(np.diff(rows) != 1) + 1), len(rows)]  # of runs of neighbours
    start = 0
    try:
      with self.path.open("rb", buffering=0) as file:
        for stop in stops if len(rows) else []:
          run, start = content[start:stop], stop
          file.seek(self.offset + int(rows[stop - len(run)]) * content.shape[1])
          if file.readinto(run.data.cast("B")) != run.size:
            raise ConfigError(f"{self.path} is cut off before row {rows[stop - 1]} of {len(self)}; copy it again")
    except OSError as error:
      raise ConfigError(f"{self.path} cannot be read: {error.strerror}; copy it again") from None
    return values


def open_array(path: Path, member_at: int | None = None) -> ArrayFile | None:
  """Opens a .npy file, or the member of a .npz whose header begins at byte ``member_at``.

  None: its numbers lie in another order (Fortran's), or they are no numbers.

  Raises:
    OSError, ValueError, EOFError: it is no such array.
  """
  with path.open("rb") as file:
    if member_at is not None:
      _skip_header(file, member_at)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read(file)
    if fortran_order or dtype.hasobject or not shape:
      return None
    return ArrayFile(path, shape, dtype, file.tell())


def _skip_header(file: BinaryIO, start: int) -> None:
  """Seeks the content of a member of a zip file."""
  file.seek(start)
  header = file.read(_LOCAL_HEADER)
  if len(header) < _LOCAL_HEADER:
    raise EOFError("a member is missing")
  file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
