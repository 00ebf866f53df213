"""MNIST-style IDX files (LeCun, Cortes & Burges: yann.lecun.com/exdb/mnist), plain or gzipped, whatever their suffix.

A file is a magic number (0, 0, 8 for unsigned bytes, number of axes), the axes' sizes as big-endian int32, and the
bytes.
"""

import contextlib
import functools
import gzip
import hashlib
import math
import pathlib
import struct
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

from common.data.source import ArraySource, Rows, white_of_all
from common.errors import ConfigError

_PREFIXES = {"train": "train", "test": "t10k"}
_NUM_CLASSES = {"mnist": 10, "fashion_mnist": 10, "kmnist": 10}  # other sets: the largest training label plus 1
_OF_LABELS = {"1feba77c": "mnist", "657fbd22": "fashion_mnist"}  # by the sha256 of their training labels
_GLIMPSE = 1000  # number of images from which the value of white is inferred
_GZIP = b"\x1f\x8b"


def find(name: str, directories: Iterable[pathlib.Path]) -> ArraySource | None:
  """Opens the IDX set in the first directory that has one, or returns None; reads headers, labels and a few images."""
  for directory in directories:
    found = {split: _files(directory, prefix) for split, prefix in _PREFIXES.items()}
    files = {split: pair for split, pair in found.items() if pair}
    if files:
      return _open(name, files)
  return None


def _files(directory: pathlib.Path, prefix: str) -> tuple[pathlib.Path, pathlib.Path] | None:
  """Returns the files of images and labels of a split; None without images."""

  def existing(stem: str) -> pathlib.Path | None:
    # Kaggle and 7-zip write train-images.idx3-ubyte, or put the file into a folder of its own name.
    names = [stem, stem.replace("-idx", ".idx")]
    folders = [directory, *(directory / name for name in names)]
    paths = (folder / f"{name}{suffix}" for folder in folders for name in names for suffix in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)

  images, labels = existing(f"{prefix}-images-idx3-ubyte"), existing(f"{prefix}-labels-idx1-ubyte")
  if images and not labels:
    raise ConfigError(f"{images} has no {prefix}-labels-idx1-ubyte[.gz] beside it")
  return (images, labels) if images and labels else None


def _open(name: str, files: dict[str, tuple[pathlib.Path, pathlib.Path]]) -> ArraySource:
  shapes = {split: _shape(images, 3) for split, (images, _) in files.items()}
  labels = {split: _read(path, 1).astype(np.int32) for split, (_, path) in files.items()}
  for split, (images, path) in files.items():
    if shapes[split][0] != len(labels[split]):
      raise ConfigError(f"{images} has {shapes[split][0]} images, but {path} has {len(labels[split])} labels")
  split = next(iter(files))
  place, training_labels = files[split][0].parent, labels[split]
  known = _OF_LABELS.get(hashlib.sha256(training_labels.astype(np.uint8).tobytes()).hexdigest()[:8], name)
  if known != name and name in _OF_LABELS.values():  # their files have the same names and sizes
    raise ConfigError(f"{place} has the files of {known}; set --config.data.name={known}")
  (height, width), *others = {shape[1:] for shape in shapes.values()}
  if others:
    raise ConfigError(f"{place}: images of train and test differ in size: {height}x{width} and {others[0]}")

  @functools.cache
  def load(split: str) -> Rows:
    return {"image": _read(files[split][0], 3)[..., None], "label": labels[split]}

  first = {str(path): _beginning(path, 16 + _GLIMPSE * height * width)[16:] for path, _ in files.values()}
  white, notes = white_of_all({path: [np.frombuffer(pixels, np.uint8)] for path, pixels in first.items() if pixels})
  if name.startswith("emnist"):
    notes = (*notes, "EMNIST's own files have rows and columns swapped; these are read as stored")
  num_classes = _NUM_CLASSES.get(name, int(training_labels.max(initial=0)) + 1)
  counts = {split: shape[0] for split, shape in shapes.items()}
  return ArraySource(name, (height, width, 1), num_classes, counts, load, white=white, notes=notes)


def _shape(path: pathlib.Path, ndim: int) -> tuple[int, ...]:
  """Reads the shape from a file's header."""
  header = _beginning(path, 4 + 4 * ndim)
  if len(header) < 4 + 4 * ndim or header[:4] != bytes((0, 0, 8, ndim)):
    raise ConfigError(f"{path} is not an IDX file of unsigned bytes with {ndim} axes; it begins with {header[:4]!r}")
  return struct.unpack(f">{ndim}I", header[4:])


def _read(path: pathlib.Path, ndim: int) -> np.ndarray:
  """Reads a whole file as uint8."""
  shape, header = _shape(path, ndim), 4 + 4 * ndim
  with _damage_of(path):
    # One call, which releases the GIL for other threads; many small reads would compete for it.
    stored = path.read_bytes()
    data = gzip.decompress(stored) if stored.startswith(_GZIP) else stored
    if len(data) - header != math.prod(shape):
      raise EOFError(f"{len(data) - header} bytes of data where its header says {math.prod(shape)}")
  return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _beginning(path: pathlib.Path, count: int) -> bytes:
  """Reads the first ``count`` bytes, or all if there are fewer."""
  with _damage_of(path), path.open("rb") as file:
    packed = file.read(2) == _GZIP
    file.seek(0)
    if not packed:
      return file.read(count)
    with gzip.open(file) as unpacked:
      return unpacked.read(count)


@contextlib.contextmanager
def _damage_of(path: pathlib.Path) -> Iterator[None]:
  try:
    yield
  except (EOFError, OSError, zlib.error) as error:
    raise ConfigError(f"{path} is truncated or corrupt ({error}); fetch it again") from None
