"""Splits, labels and captions of pictures, from the names of their files and from tables beside them.

Splits: folders at the top that are named train, validation (valid, val, dev) and test are the splits. One that is
missing is taken from train by the sha256 of the names: the lowest twentieth of all hashes is the test split, the next
one the validation split. So a picture stays in its split when others are added.

Labels, from the first of these that is there:
- dataset.json with "labels": [[file, class], ...], as StyleGAN's tool writes it;
- metadata.csv or metadata.jsonl with file_name and label, as in Hugging Face's image folders;
- folders, if every picture lies in one and there are two or more.

Captions: NAME.txt beside NAME.png, or the column "text" of metadata.csv or metadata.jsonl.
"""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from common.errors import ConfigError

SPLITS = {
  "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
  "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip
HELD_OUT = 20  # one picture of this many is held out for each split that has no folder
TABLES = ("dataset.json", "metadata.csv", "metadata.jsonl")


def split_of(names: Sequence[str], root: Path) -> list[str]:
  """Returns the split of each name.

  Args:
    names: of the pictures, with "/".
    root: where they lie, for the error.

  Raises:
    ConfigError: there are too few names for three splits.
  """
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
  return tops


def _place(name: str) -> float:
  """Returns a number from [0, 1) that depends on the name only, uniform over names."""
  return int(hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:12], 16) / 16**12


def labels_of(names: Sequence[str], tables: Mapping[str, bytes]) -> tuple[np.ndarray | None, tuple[str, ...]]:
  """Returns the labels, int32 [N], and the names of the classes; (None, ()) if some picture has no label.

  Args:
    names: of the pictures, with "/".
    tables: the contents of the files named in `TABLES`, by their paths; others are ignored.
  """
  of_name = _column(tables, "label") or _folders(names)
  values = [of_name.get(name) for name in names]
  if any(value is None for value in values):
    return None, ()
  distinct = sorted(set(map(str, values)))
  if all(name.isdecimal() for name in distinct):
    distinct.sort(key=int)
    if int(distinct[-1]) < 2 * len(distinct):  # numbers of classes, some of which may be absent; years are names
      distinct = [str(number) for number in range(int(distinct[-1]) + 1)]
  number = {name: i for i, name in enumerate(distinct)}
  return np.asarray([number[str(value)] for value in values], np.int32), tuple(distinct)


def captions_of(names: Sequence[str], tables: Mapping[str, bytes]) -> list[str]:
  """Returns the caption of each picture, "" without one.

  Args:
    names: of the pictures, with "/".
    tables: the contents of the files named in `TABLES` and of those that end in .txt, by their paths.
  """
  of_name = _column(tables, "text")
  beside = [tables.get(PurePosixPath(name).with_suffix(".txt").as_posix(), b"") for name in names]
  return [
    (text.decode("utf-8-sig", errors="replace") or str(of_name.get(name, ""))).strip()
    for name, text in zip(names, beside, strict=True)
  ]


def _column(tables: Mapping[str, bytes], column: str) -> dict[str, Any]:
  """Returns {name of a picture: its value} from all tables together."""
  of_name: dict[str, Any] = {}
  for path, content in tables.items():
    place = PurePosixPath(path)
    if place.name in TABLES:
      of_name |= {(place.parent / name).as_posix(): value for name, value in _read_table(path, content, column).items()}
  return of_name


def _folders(names: Sequence[str]) -> dict[str, str]:
  """Returns the class folder of each picture; {} if some picture lies in none, or if there is one folder only."""
  parts = [name.split("/")[:-1] for name in names]
  if all(part and part[0].lower() in SPLITS for part in parts):
    parts = [part[1:] for part in parts]
  if not all(parts) or len({part[0] for part in parts}) < 2:
    return {}
  return {name: part[0] for name, part in zip(names, parts, strict=True)}


def _read_table(path: str, content: bytes, column: str) -> dict[str, Any]:
  """Returns {file: value of the column} from a file of `TABLES`; dataset.json has labels only.

  Raises:
    ConfigError: the file is not what its name says.
  """
  try:
    text = content.decode("utf-8-sig")
    if path.endswith(".json"):
      return dict(json.loads(text)["labels"] or []) if column == "label" else {}
    if path.endswith(".csv"):
      rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(text)))
    else:
      rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    values = {row["file_name"]: row.get(column) for row in rows}
    return {name: value for name, value in values.items() if value not in (None, "")}
  except KeyError as error:
    raise ConfigError(f"{path} lacks {error}; add it, or move the file elsewhere") from None
  except (ValueError, TypeError, AttributeError) as error:
    raise ConfigError(f"{path} cannot be read ({error}); mend it, or move it elsewhere") from None
