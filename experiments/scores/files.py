"""Scores pictures in files of any code, for `experiments.evaluate --samples`."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from common import parallel
from common.data import picture_folder
from common.data.archive import is_archive
from common.data.picture_arrays import read_arrays
from common.data.picture_files import Report
from common.errors import ConfigError, nearest
from common.evaluation.metrics.catalogue import SAMPLE_METRICS
from common.evaluation.pictures import Pictures, open_reference, without_margin
from common.evaluation.records import Record
from common.evaluation.scoring import Scoring, Settings
from configs import recipes, schema
from experiments.scores.runs import Sections, metrics_in, report


def score_files(
  path: Path,
  reference: str,
  resize: str,
  background: int,
  sections: Sections,
  settings: Settings,
  emit: Callable[[Record], None],
) -> list[Record]:
  """Scores pictures in files against a data set.

  Args:
    path: of `read_pictures`.
    reference: a data set of `recipes.DATASETS`, or what `common.data.folder` opens, all of whose pictures are then the
      real ones; none are left for a floor.
    resize: "pad" crops the margin by which training images were padded, "crop" and "stretch" resize the real ones.
    background: the grey level behind transparent pictures.
    sections: the metrics, all of pictures.
    settings: how to measure.
    emit: called with each record as it comes.

  Raises:
    ConfigError: a metric that cannot be measured for these pictures, before any work.
  """
  data = _reference_data(reference, settings.data_dir)
  metrics = metrics_in(SAMPLE_METRICS, sections)
  if others := [name for name in sections if name not in metrics]:
    raise ConfigError(f"--metrics: {', '.join(others)} cannot score pictures; use some of {', '.join(SAMPLE_METRICS)}")
  with settings.say.phase(f"reading {path}"):
    pictures, said = read_pictures(path, background)
  settings.say.line(f"{path}: {said}")
  resized = resize in ("crop", "stretch")
  data.resize, data.channels = resize if resized else "pad", 0
  data.image_size, data.image_width = pictures.images.shape[1:3] if resized else (0, 0)
  try:
    real = open_reference(data)
  except ConfigError as error:
    if data.image_size or "differ in size" not in str(error):
      raise
    way_out = "--resize=crop or --resize=stretch gives them that of --samples"
    raise ConfigError(f"--reference={reference}: the images differ in size; {way_out}") from None
  for note in real.notes:
    settings.say.line(note)
  images = without_margin(pictures.images, real.image_shape) if resize == "pad" else pictures.images
  pictures = Pictures(_matched(images, real.image_shape, path, data.name), pictures.labels)
  labelled, num = pictures.labels is not None, len(pictures)
  scoring = Scoring(metrics, real, data, settings, parallel.make_mesh(), labelled=labelled, num=num, paired=True)
  unknown = dict.fromkeys(("weights", "batch_norm", "truncation", "sampler"), "files")
  made: dict[str, Any] = {**unknown, "quantization": said.quantization, "files": said.record()}
  floor = scoring.floor(num) if settings.floor and data.train_split != data.test_split else ()
  lines = []
  for record in chain(scoring(pictures, {"samples": str(path)}, made), floor):
    lines.append(record.to_json())
    emit(lines[-1])  # before the floor is measured, which may fail
  report(scoring)
  return lines


def _reference_data(reference: str, data_dir: str) -> Any:
  """Returns the config.data of a data set by name, or of files, all of which are then the real pictures.

  Raises:
    ConfigError: there are no such files and no such data set.
  """
  data = schema.get_config().data
  if Path(reference).exists():
    data.update({"name": "folder", "dir": reference, "train_split": "all", "test_split": "all"})
  elif reference in recipes.DATASETS:
    data.update({**recipes.DATASETS[reference], "dir": data_dir})
  else:
    known = f"no file, no folder, and not one of {', '.join(recipes.DATASETS)}"
    raise ConfigError(f'--reference="{reference}" is {known}{nearest(reference, recipes.DATASETS)}')
  return data


def _matched(images: np.ndarray, shape: tuple[int, int, int], path: Path, name: str) -> np.ndarray:
  """Returns the images in the channels of ``shape``; raises ConfigError if their height or width differs from it."""
  if images.shape[1:3] != shape[:2]:
    ours, theirs = ("x".join(map(str, size)) for size in (images.shape[1:3], shape[:2]))
    raise ConfigError(
      f'--samples={path}: pictures of {ours} against {theirs} of "{name}"; say how they got that size, '
      "--resize=pad (a margin, which is cut off), --resize=crop (the middle square) or --resize=stretch"
    )
  if images.shape[3] == 3 and shape[2] == 1 and np.all(images == images[..., :1]):
    return images[..., :1]  # many tools write grey pictures in three channels
  return images


def read_pictures(path: Path, background: int = 255) -> tuple[Pictures, Report]:
  """Returns the pictures of a folder, a zip or tar archive, or a .npz or .npy file, and a report of the conversions.

  Raises:
    ConfigError: there are no pictures, one cannot be read, or they differ in size.
  """
  try:
    if path.is_file() and not is_archive(path):
      images, labels, report = read_arrays(path, background)
      return Pictures(images, labels), report
    if not path.exists():
      raise ConfigError(f"{path} is not a directory of pictures, nor a .npz, .npy, .zip or .tar file")
    pictures = picture_folder.read_pictures(path, background)
    if pictures.damaged:
      raise ConfigError(f"{path}: {pictures.damage}; write them anew, or move them elsewhere")
  except ConfigError as error:
    raise ConfigError(f"--samples={error}") from None
  names, first = pictures.names, pictures.pixels[0]
  for name, image in zip(names, pictures.pixels, strict=True):
    if image.shape != first.shape:
      ours, theirs = ("x".join(map(str, pixels.shape[:2])) for pixels in (image, first))
      raise ConfigError(f"--samples={path}: {name} is {ours} and {names[0]} {theirs}; all must have one size")
  return Pictures(np.stack(pictures.pixels), None), pictures.report
