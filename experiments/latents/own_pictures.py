"""A user's own pictures, brought to the size of a model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common.algorithm import Generative
from common.data.picture_arrays import read_arrays
from common.data.picture_folder import Pictures, read_pictures
from common.data.picture_labels import TABLES, labels_of
from common.data.resize import fit, target_shape
from common.errors import ConfigError
from experiments.loading import TrainedRun


def own_pictures(
  run: TrainedRun, places: list[str], labels: list[str], flag: str, say: Callable[[str], None]
) -> tuple[list[str], np.ndarray, np.ndarray | None]:
  """Reads pictures for a model.

  Args:
    run: of the model.
    places: folders, archives, .npy or .npz files, or picture files.
    labels: numbers or names of classes, repeated, for a model that is given labels; empty: those of the folders.
    flag: the flag that has the labels, for errors.
    say: is told which pictures cannot be read; they are left out.

  Returns:
    The names, the pixels uint8 [N, H, W, C] at the model's size, and the labels int32 [N], or None if it takes none.

  Raises:
    ConfigError: a place has no pictures that can be read, or the model and the labels do not go together.
  """
  algorithm: Any = run.algorithm
  if not isinstance(run.algorithm, Generative) or run.spec.kind != "images":
    raise ConfigError(
      f"the run holds a {run.config.family} of {run.spec.kind}, which has no latents of pictures; take another run"
    )
  labelled = "label" in algorithm.given
  if labels and not labelled:
    raise ConfigError(f"--{flag}={','.join(labels)}: this model takes no labels; leave it out")
  pictures = Pictures()
  for place in places:
    pictures.add(_read(Path(place).expanduser(), run))
  if pictures.damaged:
    say(f"left out: {pictures.damage}")
  pixels = np.stack(pictures.pixels)
  return pictures.names, pixels, _labels(run, pictures, labels, flag) if labelled else None


def _read(place: Path, run: TrainedRun) -> Pictures:
  shape, resize = run.spec.image_shape, run.config.data.resize

  def resized(pixels: np.ndarray) -> np.ndarray:
    target_shape(pixels.shape, shape[:2], shape[2], resize)  # raises where this way of resizing cannot do it
    return fit(pixels[None], shape, resize)[0]

  if place.suffix.lower() not in (".npy", ".npz") or not place.is_file():
    return read_pictures(place, fit=resized, tables=TABLES)
  images, _, _ = read_arrays(place)
  return Pictures([f"{place.stem}/{i}" for i in range(len(images))], [resized(image) for image in images])


def _labels(run: TrainedRun, pictures: Pictures, labels: list[str], flag: str) -> np.ndarray:
  known = {str(i): i for i in run.spec.labels} | {name: i for i, name in enumerate(run.spec.class_names)}
  numbers, class_names = labels_of(pictures.names, pictures.tables)
  given = labels or ([] if numbers is None else [class_names[i] for i in numbers])
  if not given or any(name not in known for name in given):
    wrong = next((f'"{name}" is no class of the model' for name in given if name not in known), "no class is given")
    names = ", ".join([*run.spec.class_names, *map(str, run.spec.labels)][:20])
    raise ConfigError(f"--{flag}={','.join(labels) or '...'}: {wrong}; name one of {names}")
  return np.resize(np.asarray([known[name] for name in given], np.int32), len(pictures.names))
