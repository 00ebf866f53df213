"""A set of pictures that experiments.prepare wrote: shards of pixels that are read in any order.

DIR/manifest.json says everything about the set; images-NNNNN.npy are uint8 [n, H, W, C]; labels.npy and splits.npy (the
number of the split in the manifest) have one number for each picture, and rows.jsonl its file name, split, label and
caption.
"""

import functools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.data.array_file import ArrayFile
from common.data.source import Rows
from common.errors import ConfigError

MANIFEST = "manifest.json"
FORMAT = 1


def find_prepared(name: str, directory: str) -> "Prepared | None":
  """Opens the prepared set in config.data.dir; None if there is none.

  Raises:
    ConfigError: ``name``, config.data.name, is neither "folder" nor the name of the set that was prepared, or a
      file of it is missing.
  """
  root = Path(directory).expanduser()
  if not directory or not (root / MANIFEST).is_file():
    return None
  prepared = Prepared(root)
  if name not in ("folder", prepared.source):
    own = "folder" if Path(prepared.source).is_absolute() else prepared.source
    raise ConfigError(f'config.data.name="{name}": {root} holds a prepared "{own}"; set --config.data.name={own}')
  return prepared


class Prepared:
  """The `common.data.source.Source` of a prepared set; opening it reads the manifest and two small arrays.

  Args:
    root: the directory.

  Attributes:
    source: config.data.name of the set that was prepared, or the absolute path of a folder, an archive or a file.

  Raises:
    ConfigError: a file is missing or has another size than the manifest says.
  """

  kind = "images"
  in_memory = False

  def __init__(self, root: Path):
    manifest = read_manifest(root)
    self.name, self.source = str(manifest["name"]), str(manifest["source"])
    self.native_shape: tuple[int, int, int] = tuple(manifest["shape"])
    self.class_names: Sequence[str] = tuple(manifest["class_names"])
    self.num_classes: int = manifest.get("num_classes", len(self.class_names))  # early sets had names for all classes
    self.sizes: Mapping[str, int] = {**manifest["splits"], "all": manifest["examples"]}
    classes = f"{self.num_classes} classes" if self.num_classes else "no labels"
    classes += f": {listed(self.class_names)}" if self.class_names else ""
    self.notes: Sequence[str] = (f"{root}: {manifest['examples']:,} prepared pictures; {classes}",)
    self._shards = [_shard(root, shard, self.native_shape) for shard in manifest["shards"]]
    self._starts = np.cumsum([0, *(shard["examples"] for shard in manifest["shards"])])
    self._labels = np.load(root / "labels.npy")
    self._rows_file = root / "rows.jsonl" if manifest.get("captions") else None
    splits = np.load(root / "splits.npy")
    self._rows = {split: np.flatnonzero(splits == number) for number, split in enumerate(manifest["splits"])}
    self._rows["all"] = np.arange(len(splits))

  def read(self, split: str, indices: np.ndarray) -> Rows:
    rows = self._rows[split][indices]
    images = np.empty((len(rows), *self.native_shape), np.uint8)
    shards = np.searchsorted(self._starts, rows, side="right") - 1
    for shard in np.unique(shards):
      own = shards == shard
      images[own] = self._shards[shard][rows[own] - self._starts[shard]]
    text = {} if self._captions is None else {"text": self._captions[rows]}
    return {"image": images, "label": self._labels[rows], **text}

  def labels(self, split: str) -> np.ndarray | None:
    return self._labels[self._rows[split]]

  def captions(self, split: str) -> Sequence[str] | None:
    return None if self._captions is None else self._captions[self._rows[split]]

  @functools.cached_property
  def _captions(self) -> Any:
    if self._rows_file is None:
      return None
    with self._rows_file.open(encoding="utf-8", errors="surrogateescape") as lines:
      return np.asarray([json.loads(line).get("text", "") for line in lines], object)  # of any length


def _shard(root: Path, shard: Mapping[str, Any], shape: tuple[int, int, int]) -> ArrayFile:
  whole = (shard["examples"], *shape)
  return ArrayFile(root / shard["file"], whole, np.dtype(np.uint8), shard["bytes"] - math.prod(whole))


def read_manifest(root: Path) -> dict[str, Any]:
  """Returns the manifest of a prepared set after a look at its files.

  Raises:
    ConfigError: there is none, it has another format, or a file is missing or has another size.
  """
  try:
    manifest: dict[str, Any] = json.loads((root / MANIFEST).read_text())
    if manifest["format"] != FORMAT:
      raise ConfigError(f"{root} has format {manifest['format']}, and this code reads {FORMAT}; prepare it again")
    sizes = {file["file"]: file["bytes"] for file in [*manifest["shards"], *manifest["files"]]}
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise ConfigError(f"{root / MANIFEST} is not the manifest of a prepared set ({error}); prepare it again") from None
  for name, size in sizes.items():
    there = (root / name).stat().st_size if (root / name).is_file() else None
    if there != size:
      said = "is missing" if there is None else f"has {there:,} bytes and not {size:,}"
      raise ConfigError(f"{root / name} {said}: copy the set again, or prepare it again")
  return manifest


def listed(names: Sequence[str]) -> str:
  """Lists up to ten names."""
  return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
