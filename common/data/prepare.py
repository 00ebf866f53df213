"""Prepares a large set of pictures once, as the shards that `common.data.prepared.Prepared` reads.

`prepare_files` decodes and resizes the pictures of a folder or an archive; `prepare_set` copies any `Source`.
"""

import hashlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from common.data.archive import Entry, entries
from common.data.dataset import Split
from common.data.picture_files import PictureError, Report
from common.data.picture_folder import Progress, Say, decoded, no_picture
from common.data.picture_labels import TABLES, captions_of, labels_of, split_of
from common.data.preparation import Chunk, Preparation, Table
from common.data.resize import Shape, fit
from common.data.source import Source
from common.errors import ConfigError

CHUNK = 1024  # files, or examples of a set


def prepare_files(
  root: Path, out: Path, shape: Shape, resize: str, background: int = 255, say: Say | None = None
) -> dict[str, Any]:
  """Prepares the pictures of a folder or an archive; returns the manifest.

  Args:
    root: what `common.data.archive.entries` reads.
    out: the directory to write; one that holds a part of the same preparation is completed.
    shape: (height, width, channels) of the prepared pictures.
    resize: a mode of `common.data.resize.fit`.
    background: the grey level on which transparent pixels are composited.
    say: is told every few seconds how far the work is.

  Raises:
    ConfigError: no pictures, too few, or ``out`` holds something else.
  """
  listing = [(file.name, file.size) for file in entries(root, Counter())]
  if not listing:
    raise ConfigError(f"{root} has no pictures; name a place that has some")
  digest = hashlib.sha256(json.dumps(listing).encode()).hexdigest()
  task = {"source": str(root.resolve()), "files": len(listing), "digest": digest, "shape": list(shape)}
  preparation = Preparation(out, {**task, "resize": resize, "background": background})
  hidden: Counter[str] = Counter()
  remaining, progress = iter(entries(root, hidden)), Progress(say, len(listing))
  numbers = range(-(-len(listing) // CHUNK))
  for number in numbers:
    part = itertools.islice(remaining, CHUNK)
    if preparation.has(number):
      progress.add(len(preparation.chunk(number).names), seen=sum(1 for _ in part))  # without reading the files
    else:
      preparation.write(number, *_read_files(part, shape, resize, background, progress))
  chunks = [preparation.chunk(number) for number in numbers]
  return preparation.finish(chunks, _table(root, chunks), hidden)


def _read_files(
  part: Iterator[Entry], shape: Shape, resize: str, background: int, progress: Progress
) -> tuple[Chunk, np.ndarray]:
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
  chunk.report = report.record()
  return chunk, np.stack(pixels) if pixels else np.empty((0, *shape), np.uint8)


def _table(root: Path, chunks: list[Chunk]) -> Table:
  """Returns splits, labels and captions of the pictures that were read."""
  names = [name for chunk in chunks for name in chunk.names]
  texts = {path: text for chunk in chunks for path, text in chunk.texts.items()}
  if not names:
    damaged = sum(len(chunk.damaged) for chunk in chunks)
    raise ConfigError(f"{root} has no pictures that can be read, and {damaged} damaged ones; name another place")
  tables = {path: text.encode() for path, text in texts.items() if PurePosixPath(path).name in TABLES}
  labels, class_names = labels_of(names, tables)
  labels = np.zeros(len(names), np.int32) if labels is None else labels
  captions = captions_of(names, {path: text.encode() for path, text in texts.items()})
  return Table(names, split_of(names, root), labels, captions, len(class_names), class_names)


def prepare_set(source: Source, out: Path, shape: Shape, resize: str, say: Say | None = None) -> dict[str, Any]:
  """Prepares all splits of a set; returns the manifest. The other arguments are those of `prepare_files`.

  Raises:
    ConfigError: the set has points, it is damaged, or ``out`` holds something else.
  """
  if source.kind != "images":
    raise ConfigError(f'config.data.name="{source.name}" has {source.kind}, and only pictures are prepared')
  sizes = {name: size for name, size in source.sizes.items() if size and name != "all"}
  splits = {name: Split(source, (name, 0, size), shape, resize) for name, size in sizes.items()}
  glimpse = [rows for split in splits.values() for rows in split.rows(np.asarray([0, len(split) - 1])).values()]
  digest = hashlib.sha256(json.dumps([sizes, [rows.tolist() for rows in glimpse]]).encode()).hexdigest()
  task = {"source": source.name, "digest": digest, "shape": list(shape), "resize": resize}
  preparation, chunks = Preparation(out, task), list[Chunk]()
  progress = Progress(say, sum(map(len, splits.values())))
  with ThreadPoolExecutor() as pool:
    for name, split in splits.items():
      texts = split.captions() or []
      for start in range(0, len(split), CHUNK):
        if not preparation.has(len(chunks)):
          part = np.arange(start, min(start + CHUNK, len(split)))
          pieces = list(pool.map(split.rows, np.array_split(part, min(os.cpu_count() or 1, len(part)))))
          rows = {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}
          chunk = Chunk([f"{name}/{i:08d}" for i in part], name, rows["label"].tolist(), texts[start : start + CHUNK])
          preparation.write(len(chunks), chunk, rows["image"])
        chunks.append(preparation.chunk(len(chunks)))
        progress.add(len(chunks[-1].names), seen=len(chunks[-1].names))
  table = Table(
    names=[name for chunk in chunks for name in chunk.names],
    splits=[chunk.split for chunk in chunks for _ in chunk.names],
    labels=np.asarray([label for chunk in chunks for label in chunk.labels], np.int32),
    captions=[text for chunk in chunks for text in chunk.captions or [""] * len(chunk.names)],
    num_classes=source.num_classes,
    class_names=tuple(source.class_names),
  )
  return preparation.finish(chunks, table, Counter())
