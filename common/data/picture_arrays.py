"""Reads images from .npz and .npy files as uint8, with a `common.data.picture_files.Report` of the conversions."""

import dataclasses
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.data.array_file import ArrayFile, open_array
from common.data.memory import check_memory
from common.data.picture_files import Report, over
from common.data.source import to_white_255
from common.errors import ConfigError

_BLOCK = 2**24  # bytes that are looked at together
_LARGE = 2**28  # bytes of arrays, above which those that are not compressed stay in the file


@dataclasses.dataclass(frozen=True)
class StoredImages:
  """The pictures of a file, [N, H, W] or [N, H, W, C]; indexing gives them as uint8 [n, H, W, 1 or 3].

  Attributes:
    stored: the array as it is.
    white: the value of white in it, 1 or 255; 1 of floats and bools.
    background: the grey level on which a second or fourth channel, opacity, is composited.
    path: of the file, for errors.
  """

  stored: np.ndarray | ArrayFile
  white: int
  background: int
  path: Path

  @property
  def shape(self) -> tuple[int, int, int, int]:
    num, height, width, *rest = self.stored.shape
    channels = rest[0] if rest else 1
    return num, height, width, {2: 1, 4: 3}.get(channels, channels)

  def __len__(self) -> int:
    return self.stored.shape[0]

  def __getitem__(self, rows: np.ndarray) -> np.ndarray:
    pixels = self.with_opacity(rows)
    return over(pixels, self.background)[0] if pixels.shape[3] in (2, 4) else pixels

  def with_opacity(self, rows: np.ndarray) -> np.ndarray:
    """Returns the pictures uint8 [n, H, W, 1 .. 4], not yet composited."""
    pixels = self.stored[rows]
    if pixels.dtype.kind == "f":
      pixels = np.rint(pixels * 255.0).astype(np.uint8)
    else:
      pixels = to_white_255(pixels, self.white, str(self.path))
    return pixels[..., None] if pixels.ndim == 3 else pixels


def read_arrays(path: Path, background: int = 255) -> tuple[np.ndarray, np.ndarray | None, Report]:
  """Returns all images of a file, uint8 [N, H, W, 1 or 3], its labels int32 [N] or None, and a report.

  Raises:
    ConfigError: as `open_arrays`, or the images do not fit into memory.
  """
  images, labels, report = open_arrays(path, background)
  check_memory(math.prod(images.shape), str(path), "take fewer")
  return images[np.arange(len(images))], labels, report


def open_arrays(path: Path, background: int = 255) -> tuple[StoredImages, np.ndarray | None, Report]:
  """Opens a file -> its images, whose numbers stay in the file where they can, labels int32 [N] or None, and a report.

  A .npz has "images", or a single array, and may have "labels" [N]. Arrays are [N, H, W] or [N, H, W, C]; a second or
  fourth channel is opacity. They are uint8, bool, or floats in [0, 1], which are rounded like this project's own
  samples. If a uint8 array has 0 and 1 only, 1 is white.

  Raises:
    ConfigError: not such a file, another shape, dtype or range, or a compressed array that does not fit into memory.
  """
  arrays = _arrays(path)
  stored_labels = arrays.pop("labels", None)
  if "images" not in arrays and len(arrays) != 1:
    raise ConfigError(f'{path} has the arrays {", ".join(arrays) or "(none)"}; name the pictures "images"')
  images = arrays["images"] if "images" in arrays else next(iter(arrays.values()))
  labels = None if stored_labels is None else stored_labels[np.arange(len(stored_labels))]
  if labels is not None and (labels.shape != (len(images),) or labels.dtype.kind not in "iu"):
    whole = f"not whole numbers [{len(images)}]; write one for each picture, numbered from 0, or none"
    raise ConfigError(f"{path}: labels are {labels.dtype} {labels.shape}, {whole}")
  _check_form(images, path)
  report = Report()
  report.formats[f"{path.suffix.lstrip('.') or 'npy'} of {images.dtype}"] = len(images)
  opened = StoredImages(images, _white(images, path), background, path)
  if images.dtype.kind == "f":
    report.changes["floats, rounded"] = len(images)
  elif opened.white == 1:
    report.changes["0 and 1 as 0 and 255"] = len(images)
  if images.shape[3:] in ((2,), (4,)):
    done = next((done for rows in _blocks(images) if (done := over(opened.with_opacity(rows), background)[1])), [])
    report.changes.update(dict.fromkeys(done, len(images)))
  return opened, None if labels is None else labels.astype(np.int32), report


def _arrays(path: Path) -> dict[str, np.ndarray | ArrayFile]:
  """Opens all arrays of a file by their names; "images" if there is one without a name."""
  try:
    with path.open("rb") as file:
      start = file.read(2)
    if start == b"\x93N":
      large = path.stat().st_size > _LARGE
      return {"images": (open_array(path) if large else None) or _loaded(path, path.stat().st_size)["images"]}
    if start != b"PK":
      raise ConfigError(f"{path} is no .npz or .npy file; of pictures in files of their own, name the directory")
    with zipfile.ZipFile(path) as archive:
      members = archive.infolist()
    if other := next((member.filename for member in members if not member.filename.endswith(".npy")), None):
      raise ConfigError(f"{path} has {other}, which is no array; unpack it, and name the directory")
    size = sum(member.file_size for member in members)
    if size > _LARGE and all(member.compress_type == zipfile.ZIP_STORED for member in members):
      opened = {member.filename.removesuffix(".npy"): open_array(path, member.header_offset) for member in members}
      if None not in opened.values():
        return {name: array for name, array in opened.items() if array}
    return _loaded(path, size)
  except ConfigError:
    raise
  except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
    if "allow_pickle" in str(error):  # of NumPy, which advises to run what is in the file
      error = ValueError("it has Python objects, not numbers")
    raise ConfigError(f"{path} cannot be read as .npz or .npy: {error}; write it anew") from error


def _loaded(path: Path, size: int) -> dict[str, np.ndarray | ArrayFile]:
  check_memory(
    2 * size, str(path), "store the pictures uncompressed, by np.save or np.savez, and they stay in the file"
  )
  loaded = np.load(path, allow_pickle=False)
  return {"images": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}


def _check_form(images: np.ndarray | ArrayFile, path: Path) -> None:
  """Raises ConfigError if these are no pictures, by shape and dtype."""
  shape = images.shape if len(images.shape) == 4 else (*images.shape, 1)
  if len(shape) != 4 or shape[3] not in (1, 2, 3, 4) or not shape[0]:
    way = "; transpose them, x.transpose(0, 2, 3, 1)" if len(shape) == 4 and shape[1] in (1, 3) else ""
    raise ConfigError(f"{path}: pictures of shape {images.shape} are not [N, H, W, 1 or 3]{way}")
  if not math.prod(shape):
    raise ConfigError(f"{path}: pictures of shape {images.shape} have no pixels; write them anew")
  if images.dtype not in (np.bool_, np.uint8) and images.dtype.kind != "f":
    raise ConfigError(f"{path}: pictures are {images.dtype}; store uint8, or floats in [0, 1]")


def _blocks(images: np.ndarray | ArrayFile) -> Iterator[np.ndarray]:
  """Yields the positions of all images in parts of about _BLOCK bytes."""
  step = max(1, _BLOCK * len(images) // images.nbytes)
  for start in range(0, len(images), step):
    yield np.arange(start, min(start + step, len(images)))


def _white(images: np.ndarray | ArrayFile, path: Path) -> int:
  """Returns the value of white, 1 or 255, after a look at as many pixels as it takes.

  Raises:
    ConfigError: floats are not in [0, 1].
  """
  if images.dtype == np.bool_:
    return 1
  if images.dtype == np.uint8:
    largest = 0
    for rows in _blocks(images):
      largest = max(largest, int(images[rows].max()))
      if largest > 1:
        return 255
    return 1 if largest == 1 else 255
  low, high, lost = math.inf, -math.inf, 0
  for block in (images[rows] for rows in _blocks(images)):
    finite = np.isfinite(block)
    lost += block.size - int(np.count_nonzero(finite))
    low, high = min(low, float(block.min())), max(high, float(block.max()))
  if lost:
    raise ConfigError(f"{path}: {lost} values are not finite")
  if low < 0.0 or high > 1.0:
    way = "shift and scale them, (x + 1) / 2" if low < 0.0 and high <= 1.0 else "store them as uint8, or divide by 255"
    raise ConfigError(f"{path}: floats must be in [0, 1], and these are in [{low:g}, {high:g}]; {way}")
  return 1
