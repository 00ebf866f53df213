"""Decodes and resizes a large set of pictures once, into the shards that `common.data.prepared.Prepared` reads.

The work goes in chunks of CHUNK files. A chunk is two files, its pixels and what was read; the second is written last,
so that a preparation that was stopped goes on after its last whole chunk.
"""

import csv
import dataclasses
import hashlib
import io
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from common import files
from common.data.archive import Entry, entries
from common.data.images import grid, save_png
from common.data.picture_files import PictureError, Report
from common.data.picture_folder import Progress, Say, decoded, no_picture
from common.data.picture_labels import TABLES, labels_of, split_of
from common.data.prepared import FORMAT, MANIFEST, SPLITS, Prepared
from common.data.resize import Shape, fit
from common.errors import ConfigError

CHUNK = 1024  # files
_STARTED = "preparation.json"
_SHEET = 64  # pictures of the contact sheet


@dataclasses.dataclass
class Chunk:
  """What was read from CHUNK files; chunk-NNNNN.json.

  Attributes:
    names: of the pictures, in the order of the pixels.
    damaged: {name: reason} of the pictures that cannot be read.
    texts: the contents of tables and captions, by their paths.
    report: the counts of `common.data.picture_files.Report`.
    sums: the sums of the pixels and of their squares, for each channel.
    sha256: that of the file of pixels, which has ``bytes``.
  """

  names: list[str] = dataclasses.field(default_factory=list)
  damaged: dict[str, str] = dataclasses.field(default_factory=dict)
  texts: dict[str, str] = dataclasses.field(default_factory=dict)
  report: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
  sums: list[list[float]] = dataclasses.field(default_factory=list)
  sha256: str = ""
  bytes: int = 0


def prepare(
  root: Path, out: Path, shape: Shape, resize: str, background: int = 255, say: Say | None = None
) -> dict[str, Any]:
  """Prepares the pictures of a folder or an archive; returns the manifest.

  Args:
    root: what `common.data.archive.entries` reads.
    out: the directory to write; one that holds a part of the same preparation is completed.
    shape: (height, width, channels) of the prepared pictures.
    resize: one of `common.data.resize.MODES`.
    background: the grey level on which transparent pixels are composited.
    say: is told every few seconds how far the work is.

  Raises:
    ConfigError: no pictures, too few, or ``out`` holds something else.
  """
  listing = [(file.name, file.size) for file in entries(root, Counter())]
  digest = hashlib.sha256(json.dumps(listing).encode()).hexdigest()
  task = {"source": str(root.resolve()), "files": len(listing), "digest": digest, "shape": list(shape)}
  task |= {"resize": resize, "background": background}
  _claim(out, task)
  hidden: Counter[str] = Counter()
  progress = Progress(say, len(listing))
  remaining = iter(entries(root, hidden))
  for number in range(-(-len(listing) // CHUNK)):
    part = itertools.islice(remaining, CHUNK)
    if _chunk_file(out, number).is_file():
      progress.add(len(_read_chunk(out, number).names), seen=sum(1 for _ in part))  # without reading the files
    else:
      _write_chunk(out, number, part, shape, resize, background, progress)
  return _finish(root, out, task, len(listing), hidden)


def _claim(out: Path, task: dict[str, Any]) -> None:
  """Writes what is prepared here, or checks that it is the same as before."""
  started = out / _STARTED
  if started.is_file():
    before = json.loads(started.read_text())
    if differences := [f"{key} {before.get(key)} -> {task[key]}" for key in task if before.get(key) != task[key]]:
      raise ConfigError(
        f"{out} holds a preparation of something else ({'; '.join(differences)}); take another directory, or remove it"
      )
    return
  if out.is_dir() and any(out.iterdir()):
    raise ConfigError(f"{out} is not empty and holds no preparation; take another directory")
  out.mkdir(parents=True, exist_ok=True)
  files.write(started, json.dumps(task, indent=2))


def _chunk_file(out: Path, number: int) -> Path:
  return out / f"chunk-{number:05d}.json"


def _read_chunk(out: Path, number: int) -> Chunk:
  return Chunk(**json.loads(_chunk_file(out, number).read_text()))


def _write_chunk(
  out: Path, number: int, part: Iterator[Entry], shape: Shape, resize: str, background: int, progress: Progress
) -> None:
  chunk, report, pixels = Chunk(), Report(), []

  def pictures() -> Iterator[Entry]:
    for file in part:
      if PurePosixPath(file.name).name in TABLES or file.name.endswith(".txt"):
        chunk.texts[file.name] = file.read().decode("utf-8-sig", errors="replace")
      else:
        yield file

  for name, picture in decoded(pictures(), progress, background, lambda x: fit(x[None], shape, resize)[0]):
    if isinstance(picture, PictureError):
      chunk.damaged[name] = str(picture)
    elif picture is None:
      report.left_out[no_picture(name)] += 1
    else:
      report.add(picture)
      chunk.names.append(name)
      pixels.append(picture.pixels)
  images = np.stack(pixels) if pixels else np.empty((0, *shape), np.uint8)
  content = _array(images)
  chunk.report, chunk.bytes, chunk.sha256 = report.record(), len(content), hashlib.sha256(content).hexdigest()
  values = images.reshape(-1, shape[2]).astype(np.float64)
  chunk.sums = [values.sum(axis=0).tolist(), (values**2).sum(axis=0).tolist()]
  files.write(out / f"images-{number:05d}.npy", content)
  files.write(_chunk_file(out, number), json.dumps(dataclasses.asdict(chunk)))


def _finish(root: Path, out: Path, task: dict[str, Any], num_files: int, hidden: Counter[str]) -> dict[str, Any]:
  """Writes labels, splits, rows, the list of damaged files, the contact sheet and, last, the manifest."""
  numbers = range(-(-num_files // CHUNK))
  chunks = [_read_chunk(out, number) for number in numbers]
  names = [name for chunk in chunks for name in chunk.names]
  damaged = {name: reason for chunk in chunks for name, reason in chunk.damaged.items()}
  texts = {path: text for chunk in chunks for path, text in chunk.texts.items()}
  if not names:
    raise ConfigError(f"{root} has no pictures that can be read; {len(damaged)} are damaged")
  tables = {path: text.encode() for path, text in texts.items() if PurePosixPath(path).name in TABLES}
  labels, class_names = labels_of(names, tables)
  labels = np.zeros(len(names), np.int32) if labels is None else labels
  splits = split_of(names, root)
  captions = [texts.get(str(PurePosixPath(name).with_suffix(".txt")), "").strip() for name in names]
  contents = {
    "labels.npy": _array(labels),
    "splits.npy": _array(np.asarray([SPLITS.index(split) for split in splits], np.uint8)),
    "rows.jsonl": _rows(names, splits, labels.tolist() if class_names else [], captions),
    "damaged.csv": _damaged(damaged),
  }
  for name, content in contents.items():
    files.write(out / name, content)
  shards = [
    {"file": f"images-{number:05d}.npy", "examples": len(chunk.names), "bytes": chunk.bytes, "sha256": chunk.sha256}
    for number, chunk in zip(numbers, chunks, strict=True)
    if chunk.names
  ]
  manifest = {
    "format": FORMAT,
    "name": out.name,
    **task,
    "examples": len(names),
    "splits": {split: splits.count(split) for split in SPLITS},
    "class_names": list(class_names),
    "class_counts": np.bincount(labels, minlength=len(class_names)).tolist() if class_names else [],
    "captions": sum(map(bool, captions)),
    "damaged": len(damaged),
    **_statistics(chunks, len(names) * task["shape"][0] * task["shape"][1], hidden),
    "shards": shards,
    "files": [
      {"file": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
      for name, content in contents.items()
    ],
  }
  files.write(out / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False))
  prepared = Prepared(out)
  some = np.unique(np.linspace(0, len(names) - 1, _SHEET).astype(int))
  save_png(out / "contact_sheet.png", grid(prepared.read("all", some)[0], 8))
  return manifest


def _rows(names: list[str], splits: list[str], labels: list[int], captions: list[str]) -> bytes:
  """Returns a line of JSON for each picture."""
  lines = []
  for i, (name, split, caption) in enumerate(zip(names, splits, captions, strict=True)):
    label = {"label": labels[i]} if labels else {}
    text = {"text": caption} if caption else {}
    lines.append(json.dumps({"file": name, "split": split, **label, **text}, ensure_ascii=False) + "\n")
  return "".join(lines).encode(errors="surrogateescape")


def _damaged(damaged: dict[str, str]) -> bytes:
  table = io.StringIO()
  csv.writer(table).writerows([("file", "reason"), *damaged.items()])
  return table.getvalue().encode(errors="surrogateescape")


def _statistics(chunks: list[Chunk], num_pixels: int, hidden: Counter[str]) -> dict[str, Any]:
  """Returns the counts of all chunks, and the mean and the standard deviation of each channel."""
  report: dict[str, Counter[str]] = {"left_out": hidden}
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
