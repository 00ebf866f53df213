"""Pictures from files of anybody's code, for `experiments.evaluate --samples`."""

from pathlib import Path

import numpy as np

from common.data.picture_arrays import read_arrays
from common.data.picture_files import Report, read_folder
from common.errors import ConfigError
from common.evaluation.sample_scores import Pictures


def read_pictures(path: Path, background: int = 255) -> tuple[Pictures, Report]:
  """A directory of picture files, or a .npz or .npy file, as uint8 [N, H, W, C]; and what was done to them.

  Raises:
    ConfigError: nothing there, what cannot be read, or pictures that differ in size.
  """
  try:
    if path.is_file():
      images, labels, report = read_arrays(path, background)
      return Pictures(images, labels), report
    if not path.is_dir():
      raise ConfigError(f"{path} is not a directory of pictures, nor a .npz or .npy file")
    files, pixels, report = read_folder(path, background)
  except ConfigError as error:
    raise ConfigError(f"--samples={error}") from None
  for file, image in zip(files, pixels, strict=True):
    if image.shape != pixels[0].shape:
      ours, theirs = ("x".join(map(str, shape.shape[:2])) for shape in (image, pixels[0]))
      raise ConfigError(
        f"--samples={path}: {file.name} is {ours} and {files[0].name} {theirs}; all must be of one size"
      )
  return Pictures(np.stack(pixels), None), report
