"""A user's own pictures as a data set: a folder, a zip or tar archive, or a .npy or .npz file.

Pictures in files of their own are decoded when the set is opened, and kept in RAM at the size that networks see. One
that cannot be read is left out, and a note names it with the reason. A large .npy or .npz that is not compressed stays
in its file.

common/data/picture_labels.py says where splits, labels and captions come from.
"""

import dataclasses
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from common.data.archive import SUFFIXES, entries, is_archive
from common.data.memory import check_memory
from common.data.picture_arrays import open_arrays
from common.data.picture_files import is_picture_suffix
from common.data.picture_folder import Pictures, Say, read_pictures
from common.data.picture_labels import TABLES, captions_of, labels_of, split_of
from common.data.prepared import listed
from common.data.resize import Native, fit, target_shape
from common.data.source import ArraySource, Rows, Source
from common.errors import ConfigError

NAME = "folder"
_COPIES = 3  # of the pictures in RAM, while a set is opened and placed on the devices


def folder(data: Any, say: Say | None = None) -> Source:
  """Opens the pictures of config.data.dir at the size of config.data; besides the three splits there is "all".

  Args:
    data: config.data.
    say: is told every few seconds how far the reading is.

  Raises:
    ConfigError: there are no pictures, too few for three splits, they differ in size and no size is set, or they do
      not fit into memory.
  """
  if not data.dir:
    raise ConfigError(f'config.data.name="{NAME}" needs --config.data.dir=DIR, a folder of pictures or an archive')
  root = Path(data.dir).expanduser()
  images: Any  # indexing with positions [n] gives uint8 [n, H, W, C]
  if root.is_file() and root.suffix.lower() in (".npy", ".npz"):
    stored, labels, report = open_arrays(root)
    images, in_memory = stored, isinstance(stored.stored, np.ndarray)
    native: Native = stored.shape[1:]
    names, damage, captions = [f"{i:09d}" for i in range(len(images))], "", []
    class_names = () if labels is None else tuple(map(str, range(int(labels.max()) + 1)))
  elif root.is_dir() or is_archive(root):
    pictures, native = _decoded(root, data, say)
    images, in_memory = np.stack(pictures.pixels), True
    names, report, damage = pictures.names, pictures.report, pictures.damage
    labels, class_names = labels_of(names, pictures.tables)
    captions = captions_of(names, pictures.tables)
  else:
    kinds = f"is no folder, and no file that ends in {', '.join((*SUFFIXES, '.npy', '.npz'))}"
    raise ConfigError(f"config.data.dir={data.dir} {kinds if root.exists() else 'does not exist'}; name your pictures")
  splits = np.asarray(split_of(names, root))
  rows = {split: np.flatnonzero(splits == split) for split in ("train", "validation", "test")}
  counts = ", ".join(f"{len(own):,} {split}" for split, own in rows.items())
  rows["all"] = np.arange(len(names))
  labels = np.zeros(len(names), np.int32) if labels is None else labels
  parts: dict[str, Rows] = {split: {"image": _Part(images, own), "label": labels[own]} for split, own in rows.items()}
  if any(captions):
    parts = {split: {**part, "text": np.asarray(captions, object)[rows[split]]} for split, part in parts.items()}
  classes = f"{len(class_names)} classes: {listed(class_names)}" if class_names else "no labels"
  classes += f"; {sum(map(bool, captions)):,} captions" if any(captions) else ""
  notes = [f"{root}: {report}", f"{counts}; {classes}", damage and f"left out: {damage}"]
  return ArraySource(
    name=NAME,
    native_shape=native,
    num_classes=len(class_names),
    sizes={split: len(own) for split, own in rows.items()},
    load=parts.__getitem__,
    in_memory=in_memory,
    notes=tuple(filter(None, notes)),
    class_names=class_names,
  )


@dataclasses.dataclass(frozen=True)
class _Part:
  """The pictures ``rows`` of all ``images``, by indexing, so that a split is no copy."""

  images: Any
  rows: np.ndarray

  def __getitem__(self, indices: np.ndarray) -> np.ndarray:
    images: np.ndarray = self.images[self.rows[indices]]
    return images


def _decoded(root: Path, data: Any, say: Say | None) -> tuple[Pictures, Native]:
  """Returns the pictures at the size of ``data``, and the shape that they had, as `Source.native_shape` says it."""
  shapes, held, place = set(), 0, f"config.data.dir={root}"
  size = data.image_size, data.image_width
  way_out = f"decode them once, python -m experiments.prepare --source={root} --out=DIR, and name that DIR"

  def resized(pixels: np.ndarray) -> np.ndarray:
    nonlocal held
    shapes.add(pixels.shape[:2])
    if len(shapes) > 1:  # raises here and not at the end where no size is set
      target_shape((None, None, pixels.shape[2]), size, 0, data.resize)
    if data.image_size:
      pixels = fit(pixels[None], target_shape(pixels.shape, size, 0, data.resize), data.resize)[0]
    before, held = held, held + pixels.nbytes  # a count to which two threads add at once is a little low
    if before >> 24 != held >> 24:
      check_memory((_COPIES - 1) * held, place, way_out)
    return pixels

  if data.image_size and not root.name.lower().endswith(SUFFIXES[1:]):  # a tar would have to be unpacked to be listed
    names = [file.name for file in entries(root, Counter()) if is_picture_suffix(PurePosixPath(file.name).suffix)]
    check_memory(_COPIES * len(names) * size[0] * (size[1] or size[0]) * (data.channels or 3), place, way_out)
  pictures = read_pictures(root, fit=resized, tables=(*TABLES, ".txt"), say=say)
  channels = pictures.pixels[0].shape[2]
  native: Native = (*shapes.pop(), channels) if len(shapes) == 1 else (None, None, channels)
  return pictures, native
