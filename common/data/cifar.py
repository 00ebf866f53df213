"""CIFAR-10's binary version, cifar-10-binary.tar.gz unpacked (Krizhevsky 2009: www.cs.toronto.edu/~kriz/cifar.html).

A record is one byte for the label and 3,072 for the image: 32x32 red, then green, then blue.
The pickled version is not read.
"""

import functools
import pathlib
from collections.abc import Iterable

import numpy as np

from common.data.source import ArraySource, Rows
from common.errors import ConfigError

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FOLDER = "cifar-10-batches-bin"
FILES = {
  "train": ("data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"),
  "test": ("test_batch.bin",),
}
_RECORD = 1 + 3 * 32 * 32


def find(name: str, directories: Iterable[pathlib.Path]) -> ArraySource | None:
  """Opens CIFAR-10 in the first directory, or its folder ``FOLDER``, that has one of the files; None if none has.

  Raises:
    ConfigError: some of the files are missing or truncated.
  """
  if name != "cifar10":
    return None
  for place in (inner for directory in directories for inner in (directory, directory / FOLDER)):
    if any((place / file).is_file() for files in FILES.values() for file in files):
      return _open(name, place)
  return None


def _open(name: str, place: pathlib.Path) -> ArraySource:
  counts = {split: [_records(place / file) for file in files] for split, files in FILES.items()}
  if len(set(counts["train"])) > 1:
    shown = ", ".join(f"{file} {count:,}" for file, count in zip(FILES["train"], counts["train"], strict=True))
    raise ConfigError(f"{place}: the training files should have the same number of images ({shown}); unpack them again")

  @functools.cache
  def load(split: str) -> Rows:
    records = np.concatenate([np.fromfile(place / file, np.uint8).reshape(-1, _RECORD) for file in FILES[split]])
    if records[:, 0].max() > 9:
      raise ConfigError(f"{place}: a label is {records[:, 0].max()} and not in 0 .. 9; fetch the files again")
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return {"image": np.ascontiguousarray(images), "label": records[:, 0].astype(np.int32)}

  return ArraySource(
    name, (32, 32, 3), 10, {split: sum(number) for split, number in counts.items()}, load, class_names=CLASS_NAMES
  )


def _records(path: pathlib.Path) -> int:
  """Returns the number of images in a file, computed from its size."""
  if not path.is_file():
    raise ConfigError(f"{path} is missing, and other files of CIFAR-10 are there; unpack cifar-10-binary.tar.gz again")
  count, rest = divmod(path.stat().st_size, _RECORD)
  if rest or not count:
    raise ConfigError(
      f"{path} is truncated: it has {path.stat().st_size:,} bytes, which is not a multiple of {_RECORD:,}, the size of "
      "an image with its label; unpack it again"
    )
  return count
