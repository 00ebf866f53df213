"""A directory in which `common.data.prepare` works: chunks of pixels, and at the end what `Prepared` reads.

A chunk is two files, its pixels and what was read. The second is written last, so that a preparation that was stopped
goes on after its last whole chunk.
"""

import csv
import dataclasses
import hashlib
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from common import files
from common.data.images import grid, save_png
from common.data.prepared import FORMAT, MANIFEST, Prepared
from common.errors import ConfigError

_STARTED = "preparation.json"
_SHEET = 64  # pictures of the contact sheet


@dataclasses.dataclass
class Chunk:
  """What was read for the pictures of one file of pixels; chunk-NNNNN.json.

  Attributes:
    names: of the pictures, in the order of the pixels.
    split: of all of them, in a chunk of a set that has splits.
    labels: of a set that has them.
    captions: of a set that has them.
    damaged: {name: reason} of the pictures that cannot be read.
    texts: the contents of tables and captions, by their paths.
    report: the counts of `common.data.picture_files.Report`.
    sums: the sums of the pixels and of their squares, for each channel.
    sha256: that of the file of pixels, which has ``bytes``.
  """

  names: list[str] = dataclasses.field(default_factory=list)
  split: str = ""
  labels: list[int] = dataclasses.field(default_factory=list)
  captions: list[str] = dataclasses.field(default_factory=list)
  damaged: dict[str, str] = dataclasses.field(default_factory=dict)
  texts: dict[str, str] = dataclasses.field(default_factory=dict)
  report: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
  sums: list[list[float]] = dataclasses.field(default_factory=list)
  sha256: str = ""
  bytes: int = 0


@dataclasses.dataclass(frozen=True)
class Table:
  """Name, split, label and caption ("" if it has none) of each picture; without labels ``num_classes`` is 0."""

  names: list[str]
  splits: list[str]
  labels: np.ndarray
  captions: list[str]
  num_classes: int
  class_names: tuple[str, ...]


class Preparation:
  """A directory that is being prepared.

  Args:
    out: the directory; one that holds a part of the same task is completed.
    task: what is prepared, and how.

  Raises:
    ConfigError: ``out`` holds something else.
  """

  def __init__(self, out: Path, task: dict[str, Any]):
    self._out, self._task = out, task
    started = out / _STARTED
    begun = started.is_file()
    if begun and self.has(0):  # before its first chunk, a task with a mistake does not bind the directory
      before = json.loads(started.read_text())
      changed = [key for key in task if before.get(key) != task[key]]
      if differences := [f"{key} {before.get(key)} -> {task[key]}" for key in changed if key != "digest"] or changed:
        what = f"{out} holds a preparation of something else ({'; '.join(differences)})"
        raise ConfigError(f"{what}; take another directory, or remove it")
    elif not begun and out.exists() and (not out.is_dir() or any(out.iterdir())):
      raise ConfigError(f"{out} is not empty and holds no preparation; take another directory")
    else:
      out.mkdir(parents=True, exist_ok=True)
      files.write(started, json.dumps(task, indent=2))

  def has(self, number: int) -> bool:
    """Whether chunk ``number`` was written."""
    return self._file(number).is_file()

  def chunk(self, number: int) -> Chunk:
    """Returns a chunk that was written."""
    return Chunk(**json.loads(self._file(number).read_text()))

  def write(self, number: int, chunk: Chunk, images: np.ndarray) -> None:
    """Writes a chunk and its pixels, uint8 [n, H, W, C]."""
    content = _array(images)
    chunk.bytes, chunk.sha256 = len(content), hashlib.sha256(content).hexdigest()
    values = images.reshape(-1, images.shape[-1]).astype(np.float64)
    chunk.sums = [values.sum(axis=0).tolist(), (values**2).sum(axis=0).tolist()]
    files.write(self._out / _pixels(number), content)
    files.write(self._file(number), json.dumps(dataclasses.asdict(chunk)))

  def _file(self, number: int) -> Path:
    return self._out / f"chunk-{number:05d}.json"

  def finish(self, chunks: list[Chunk], table: Table, left_out: Counter[str]) -> dict[str, Any]:
    """Writes labels, splits, rows, damaged files, the contact sheet and, last, the manifest, which is returned."""
    names = list(dict.fromkeys(table.splits))
    splits = sorted(names, key=lambda name: ("train", "validation", "test", name).index(name))
    damaged = {name: reason for chunk in chunks for name, reason in chunk.damaged.items()}
    contents = {
      "labels.npy": _array(table.labels),
      "splits.npy": _array(np.asarray([splits.index(split) for split in table.splits], np.uint8)),
      "rows.jsonl": _rows(table),
      "damaged.csv": _damaged(damaged),
    }
    for name, content in contents.items():
      files.write(self._out / name, content)
    shards = [
      {"file": _pixels(number), "examples": len(chunk.names), "bytes": chunk.bytes, "sha256": chunk.sha256}
      for number, chunk in enumerate(chunks)
      if chunk.names
    ]
    labelled = table.num_classes > 0
    manifest = {
      "format": FORMAT,
      "name": self._out.name,
      **self._task,
      "examples": len(table.names),
      "splits": {split: table.splits.count(split) for split in splits},
      "num_classes": table.num_classes,
      "class_names": list(table.class_names),
      "class_counts": np.bincount(table.labels, minlength=table.num_classes).tolist() if labelled else [],
      "captions": sum(map(bool, table.captions)),
      "damaged": len(damaged),
      **_statistics(chunks, len(table.names) * self._task["shape"][0] * self._task["shape"][1], left_out),
      "shards": shards,
      "files": [
        {"file": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
      ],
    }
    files.write(self._out / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False))
    prepared = Prepared(self._out)
    some = np.unique(np.linspace(0, len(table.names) - 1, _SHEET).astype(int))
    save_png(self._out / "contact_sheet.png", grid(prepared.read("all", some)["image"], 8))
    return manifest


def _pixels(number: int) -> str:
  return f"images-{number:05d}.npy"


def _rows(table: Table) -> bytes:
  """Returns a line of JSON for each picture."""
  lines = []
  for name, split, label, caption in zip(table.names, table.splits, table.labels, table.captions, strict=True):
    row: dict[str, Any] = {"file": name, "split": split}
    row |= {"label": int(label)} if table.num_classes else {}
    row |= {"text": caption} if caption else {}
    lines.append(json.dumps(row, ensure_ascii=False) + "\n")
  return "".join(lines).encode(errors="surrogateescape")


def _damaged(damaged: dict[str, str]) -> bytes:
  table = io.StringIO()
  csv.writer(table).writerows([("file", "reason"), *damaged.items()])
  return table.getvalue().encode(errors="surrogateescape")


def _statistics(chunks: list[Chunk], num_pixels: int, left_out: Counter[str]) -> dict[str, Any]:
  """Returns the counts of all chunks, and the mean and the standard deviation of each channel."""
  report: dict[str, Counter[str]] = {"left_out": left_out}
  for kind, counts in (pair for chunk in chunks for pair in chunk.report.items()):
    report.setdefault(kind, Counter()).update(counts)
  mean, square = (np.sum([chunk.sums[i] for chunk in chunks], axis=0) / num_pixels for i in (0, 1))
  return {
    "report": {kind: dict(counts) for kind, counts in report.items() if counts},
    "mean": mean.tolist(),
    "std": np.sqrt(np.maximum(square - mean**2, 0)).tolist(),
  }


def _array(array: np.ndarray) -> bytes:
  content = io.BytesIO()
  np.save(content, array)
  return content.getvalue()
