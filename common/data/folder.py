"""A user's own pictures as a data set: a folder, a zip or tar archive, or a .npy or .npz file.

All pictures are decoded when the set is opened, and kept in RAM at the size that networks see. One that cannot be read
is left out, and a note names it with the reason.

common/data/picture_labels.py says where splits and labels come from.
"""

from pathlib import Path
from typing import Any

import numpy as np

from common.data.archive import SUFFIXES, is_archive
from common.data.picture_arrays import read_arrays
from common.data.picture_folder import Pictures, read_pictures
from common.data.picture_labels import TABLES, labels_of, split_of
from common.data.prepared import MANIFEST, Prepared, listed
from common.data.resize import Native, fit, target_shape
from common.data.source import ArraySource, Source
from common.errors import ConfigError

NAME = "folder"


def folder(data: Any) -> Source:
  """Opens the pictures of config.data.dir at the size of config.data; besides the three splits there is "all".

  Raises:
    ConfigError: there are no pictures, too few for three splits, or they differ in size and no size is set.
  """
  if not data.dir:
    raise ConfigError(f'config.data.name="{NAME}" needs --config.data.dir=DIR, a folder of pictures or an archive')
  root = Path(data.dir).expanduser()
  if (root / MANIFEST).is_file():
    return Prepared(root)
  if root.is_file() and root.suffix.lower() in (".npy", ".npz"):
    images, labels, report = read_arrays(root)
    native: Native = images.shape[1:]
    names, damage = [f"{i:09d}" for i in range(len(images))], ""
    class_names = () if labels is None else tuple(map(str, range(int(labels.max()) + 1)))
  elif root.is_dir() or is_archive(root):
    pictures, native = _decoded(root, data)
    images = np.stack(pictures.pixels)
    names, report, damage = pictures.names, pictures.report, pictures.damage
    labels, class_names = labels_of(names, pictures.tables)
  else:
    kinds = f"is no folder, and no file that ends in {', '.join((*SUFFIXES, '.npy', '.npz'))}"
    raise ConfigError(f"config.data.dir={data.dir} {kinds if root.exists() else 'does not exist'}")
  splits = np.asarray(split_of(names, root))
  labels = np.zeros(len(names), np.int32) if labels is None else labels
  parts = {split: (images[splits == split], labels[splits == split]) for split in ("train", "validation", "test")}
  counts = ", ".join(f"{len(part[1]):,} {split}" for split, part in parts.items())
  parts["all"] = images, labels
  classes = f"{len(class_names)} classes: {listed(class_names)}" if class_names else "no labels"
  notes = [f"{root}: {report}", f"{counts}; {classes}", damage and f"left out: {damage}"]
  return ArraySource(
    name=NAME,
    native_shape=native,
    num_classes=len(class_names),
    sizes={split: len(part[1]) for split, part in parts.items()},
    load=parts.__getitem__,
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

  pictures = read_pictures(root, fit=resized, tables=TABLES)
  channels = pictures.pixels[0].shape[2]
  native: Native = (*shapes.pop(), channels) if len(shapes) == 1 else (None, None, channels)
  target_shape(native, data.image_size, data.channels, data.resize)  # raises where sizes differ and none is set
  return pictures, native
