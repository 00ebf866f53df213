"""Pictures from files of anybody's code, for `experiments.evaluate --samples`."""

from pathlib import Path

import numpy as np

from common.data import picture_folder
from common.data.archive import is_archive
from common.data.picture_arrays import read_arrays
from common.data.picture_files import Report
from common.errors import ConfigError
from common.evaluation.sample_scores import Pictures


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
      raise ConfigError(f"--samples={path}: {name} is {ours} and {names[0]} {theirs}; all must be of one size")
  return Pictures(np.stack(pictures.pixels), None), pictures.report
