"""Reads TensorFlow Datasets in array_record format without TensorFlow; preparing a set needs it.

Parquet is not used: tfds 4.9.10 silently wrote 3,400 of 60,000 rows. The length is therefore checked below; an
array_record source takes its length from dataset_info.json, so missing records are detected only when they are read.
"""

import importlib.util
import os
import pathlib
import socket
import urllib.parse
from collections.abc import Mapping
from typing import Any

import numpy as np

from common.data.source import Rows, to_white_255, white_of_all
from common.errors import ConfigError

_GLIMPSE = 64  # images, evenly spread over a split, from which the value of white is inferred
_COUNTED = 100_000  # maximum number of examples whose labels are collected to see which classes occur


def directory(data_dir: str) -> pathlib.Path:
  """Returns the directory of prepared sets: config.data.dir, or tfds' own default."""
  return pathlib.Path(data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def find(name: str, data_dir: str, download: bool) -> "TfdsSource | None":
  """Opens the prepared set, after preparing it if ``download``; None if there is none.

  Raises:
    ConfigError: the set cannot be read or prepared, or a package is missing.
  """
  root = directory(data_dir)
  # Check the disk first: importing tfds takes a second, and its builder warns about sets that are not prepared.
  prepared = any((root / name.split(":")[0]).glob("**/dataset_info.json"))
  if not prepared and not download:
    return None
  for package in ("tensorflow_datasets", "array_record"):
    if importlib.util.find_spec(package) is None:
      raise ConfigError(f'config.data.name="{name}" needs {package}: pip install {package.replace("_", "-")}')
  import tensorflow_datasets as tfds

  try:
    builder = tfds.builder(name, data_dir=os.fspath(root), file_format="array_record")
  except ValueError as error:
    if not prepared:  # an unknown name, or one that tfds cannot parse: its message of 4,000 characters is not helpful
      return None
    reason = str(error).partition("\n")[0][:200].rstrip(".")
    raise ConfigError(
      f'config.data.name="{name}": tfds does not read what lies in {root} as array_record ({reason}); '
      "prepare it in another config.data.dir with config.data.download=True"
    ) from None
  if not builder.is_prepared():
    if not download:
      return None
    _prepare(builder, name)
  return TfdsSource(name, builder)


def _prepare(builder: Any, name: str) -> None:
  """Downloads and writes a set; certain failures raise at once instead of after ten attempts per file."""
  if importlib.util.find_spec("tensorflow") is None:
    raise ConfigError(f'config.data.download=True: preparing "{name}" needs TensorFlow: pip install -e .[tfds-prepare]')
  for host in {urllib.parse.urlsplit(url).hostname for url in builder.url_infos or ()} - {None}:
    try:
      socket.getaddrinfo(host, 443)
    except OSError as error:
      raise ConfigError(f'config.data.download=True: no way to {host}, which has "{name}" ({error})') from None
  builder.download_and_prepare()


class TfdsSource:
  """A prepared set with a feature "image" and, if it has classes, "label"; decodes only the examples that are read."""

  kind = "images"
  in_memory = False

  def __init__(self, name: str, builder: Any):
    features = builder.info.features
    if "image" not in features:
      raise ConfigError(f'config.data.name="{name}" has no feature "image"; it has {", ".join(features)}')
    kind = np.dtype(features["image"].np_dtype)
    if kind not in (np.uint8, np.bool_):
      raise ConfigError(
        f'config.data.name="{name}": its images are {kind}, and what is white in them is not known; only uint8 and '
        "bool are read: prepare a set of your own with tfds.features.Image(dtype=np.uint8)"
      )
    self.name = name
    self._sideways = name.startswith("emnist")  # its builder copies the official files, whose images are transposed
    shape: Any = tuple(features["image"].shape)
    self.native_shape: tuple[int | None, int | None, int] = (shape[1], shape[0], shape[2]) if self._sideways else shape
    self.num_classes: int = getattr(features["label"], "num_classes", 0) if "label" in features else 0
    names = getattr(features["label"], "names", None) if "label" in features else None
    self.class_names: tuple[str, ...] = tuple(names or ())
    self.sizes: Mapping[str, int] = {split: info.num_examples for split, info in builder.info.splits.items()}
    self._builder = builder
    self._opened: dict[str, Any] = {}
    some = {
      split: np.unique(np.linspace(0, size - 1, _GLIMPSE).astype(int)) for split, size in self.sizes.items() if size
    }
    self._white, self.notes = white_of_all(
      {
        f'{builder.data_path} "{split}"': [row["image"] for row in self._rows(self._open(split), split, rows)]
        for split, rows in some.items()
      }
    )
    if self._sideways:
      self.notes = (*self.notes, "EMNIST is stored with rows and columns swapped; its images are read upright")

  def read(self, split: str, indices: np.ndarray) -> Rows:
    rows = self._rows(self._open(split), split, indices)
    images = [to_white_255(row["image"], self._white, self.name) for row in rows]
    if self._sideways:
      images = [image.swapaxes(0, 1) for image in images]
    labels = np.array([row["label"] if self.num_classes else 0 for row in rows], np.int32)
    return {"image": images if None in self.native_shape else np.stack(images), "label": labels}

  def labels(self, split: str) -> np.ndarray | None:
    if not self.num_classes or self.sizes[split] > _COUNTED:
      return None
    import tensorflow_datasets as tfds

    source = self._builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    parts = np.array_split(np.arange(self.sizes[split]), -(-self.sizes[split] // 1024))
    return np.array([row["label"] for part in parts for row in self._rows(source, split, part)], np.int32)

  def captions(self, split: str) -> None:
    return None

  def _rows(self, source: Any, split: str, indices: np.ndarray) -> list[dict[str, Any]]:
    try:
      return source.__getitems__([int(index) for index in indices])
    except RuntimeError as error:  # raised by array_record for a file that is missing, truncated or too short
      raise ConfigError(f'{self._builder.data_path}: split "{split}" is damaged ({error}); prepare it again') from None

  def _open(self, split: str) -> Any:
    if split not in self._opened:
      source = self._builder.as_data_source(split)
      if len(source) != self.sizes[split]:
        raise ConfigError(
          f'{self._builder.data_path}: split "{split}" holds {len(source)} examples where dataset_info.json says '
          f"{self.sizes[split]}; prepare it again"
        )
      self._opened[split] = source
    return self._opened[split]
