"""A user's own pictures as a data set: a folder, a zip or tar archive, or a .npy or .npz file.

All pictures are decoded when the set is opened, and kept in RAM at the size that networks see. One that cannot be read
is left out, and a note names it with the reason.

Splits: folders at the top that are named train, validation (valid, val, dev) and test are the splits. One that is
missing is taken from train by the sha256 of the names: the lowest twentieth of all hashes is the test split, the next
one the validation split. So a picture stays in its split when others are added.

Labels, from the first of these that is there:
- dataset.json with "labels": [[file, class], ...], as StyleGAN's tool writes it, or "labels" of a .npz;
- metadata.csv or metadata.jsonl with file_name and label, as in Hugging Face's image folders;
- folders, if every picture lies in one and there are two or more.
"""

import csv
import hashlib
import io
import json
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from common.data.archive import SUFFIXES, is_archive
from common.data.picture_arrays import read_arrays
from common.data.picture_folder import Pictures, read_pictures
from common.data.resize import Native, fit, target_shape
from common.data.source import ArraySource
from common.errors import ConfigError

NAME = "folder"
SPLITS = {
  "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
  "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip
HELD_OUT = 20  # one picture of this many is held out for each split that has no folder
_TABLES = ("dataset.json", "metadata.csv", "metadata.jsonl")


def folder(data: Any) -> ArraySource:
  """Opens the pictures of config.data.dir at the size of config.data.

  Raises:
    ConfigError: there are no pictures, too few for three splits, or they differ in size and no size is set.
  """
  if not data.dir:
    raise ConfigError(f'config.data.name="{NAME}" needs --config.data.dir=DIR, a folder of pictures or an archive')
  root = Path(data.dir).expanduser()
  if root.is_file() and root.suffix.lower() in (".npy", ".npz"):
    images, labels, report = read_arrays(root)
    native: Native = images.shape[1:]
    names, damage = [f"{i:09d}" for i in range(len(images))], ""
    class_names = () if labels is None else tuple(map(str, range(int(labels.max()) + 1)))
  elif root.is_dir() or is_archive(root):
    pictures, native = _decoded(root, data)
    images = np.stack(pictures.pixels)
    names, report, damage = pictures.names, pictures.report, pictures.damage
    labels, class_names = _labels(pictures)
  else:
    kinds = f"is no folder, and no file that ends in {', '.join((*SUFFIXES, '.npy', '.npz'))}"
    raise ConfigError(f"config.data.dir={data.dir} {kinds if root.exists() else 'does not exist'}")
  parts = _split(names, root)
  sizes = {name: len(rows) for name, rows in parts.items()}
  labels = np.zeros(len(names), np.int32) if labels is None else labels
  classes = f"{len(class_names)} classes: {_listed(class_names)}" if class_names else "no labels"
  counts = ", ".join(f"{size:,} {name}" for name, size in sizes.items())
  notes = [f"{root}: {report}", f"{counts}; {classes}", damage and f"left out: {damage}"]
  return ArraySource(
    name=NAME,
    native_shape=native,
    num_classes=len(class_names),
    sizes=sizes,
    load=lambda split: (images[parts[split]], labels[parts[split]]),
    notes=tuple(filter(None, notes)),
    class_names=class_names,
  )


def _decoded(root: Path, data: Any) -> tuple[Pictures, Native]:
  """Returns the pictures at the size of ``data``, and the shape that they had, as `Source.native_shape` says it."""
  shapes = set()

  def resized(pixels: np.ndarray) -> np.ndarray:
    shapes.add(pixels.shape[:2])
    if not data.image_size:
      return pixels
    return fit(pixels[None], target_shape(pixels.shape, data.image_size, 0, data.resize), data.resize)[0]

  pictures = read_pictures(root, fit=resized, tables=_TABLES)
  channels = pictures.pixels[0].shape[2]
  native: Native = (*shapes.pop(), channels) if len(shapes) == 1 else (None, None, channels)
  target_shape(native, data.image_size, data.channels, data.resize)  # raises where sizes differ and none is set
  return pictures, native


def _split(names: list[str], root: Path) -> dict[str, np.ndarray]:
  """Returns the rows of each split, in the order of the names."""
  tops = [SPLITS.get(name.split("/")[0].lower(), "") if "/" in name else "" for name in names]
  if "train" not in tops or not all(tops):
    tops = ["train"] * len(names)
  place = {i: _place(name) for i, name in enumerate(names)}
  for split, start in (("test", 0), ("validation", 1)):
    rest = [i for i, top in enumerate(tops) if top == "train"]
    if split not in tops and rest:
      chosen = [i for i in rest if start <= HELD_OUT * place[i] < start + 1]
      for i in chosen or [min(rest, key=lambda i: place[i])]:
        tops[i] = split
  if "train" not in tops:
    raise ConfigError(f"{root} has {len(names)} pictures, too few for a train, a validation and a test split; add some")
  return {
    split: np.asarray([i for i, top in enumerate(tops) if top == split]) for split in dict.fromkeys(SPLITS.values())
  }


def _place(name: str) -> float:
  """Returns a number from [0, 1) that depends on the name only, uniform over names."""
  return int(hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:12], 16) / 16**12


def _labels(pictures: Pictures) -> tuple[np.ndarray | None, tuple[str, ...]]:
  """Returns the labels, int32 [N], and the names of the classes; (None, ()) if some picture has no label."""
  of_name: dict[str, Any] = {}
  for path, content in pictures.tables.items():
    place = PurePosixPath(path).parent
    of_name.update({(place / name).as_posix(): label for name, label in _read_table(path, content).items()})
  if not of_name:
    of_name = _folders(pictures.names)
  values = [of_name.get(name) for name in pictures.names]
  if any(value is None for value in values):
    return None, ()
  distinct = sorted(set(map(str, values)))
  if all(name.isdecimal() for name in distinct):
    distinct.sort(key=int)
    if int(distinct[-1]) < 2 * len(distinct):  # numbers of classes, some of which may be absent; years are names
      distinct = [str(number) for number in range(int(distinct[-1]) + 1)]
  number = {name: i for i, name in enumerate(distinct)}
  return np.asarray([number[str(value)] for value in values], np.int32), tuple(distinct)


def _folders(names: list[str]) -> dict[str, str]:
  """Returns the class folder of each picture; {} if some picture lies in none, or if there is one folder only."""
  parts = [name.split("/")[:-1] for name in names]
  if all(part and part[0].lower() in SPLITS for part in parts):
    parts = [part[1:] for part in parts]
  if not all(parts) or len({part[0] for part in parts}) < 2:
    return {}
  return {name: part[0] for name, part in zip(names, parts, strict=True)}


def _read_table(path: str, content: bytes) -> dict[str, Any]:
  """Returns {file: label} from a file of `_TABLES`.

  Raises:
    ConfigError: the file is not what its name says.
  """
  try:
    text = content.decode("utf-8-sig")
    if path.endswith(".json"):
      return dict(json.loads(text)["labels"] or [])
    if path.endswith(".csv"):
      rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(text)))
    else:
      rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    if any("file_name" not in row for row in rows):
      raise ConfigError(f'{path} has rows without "file_name"; add it, or move the file elsewhere')
    return {row["file_name"]: row["label"] for row in rows if row.get("label") not in (None, "")}
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ConfigError(
      f"{path} cannot be read ({type(error).__name__}: {error}); mend it, or move it elsewhere"
    ) from None


def _listed(names: tuple[str, ...]) -> str:
  return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
