"""Pictures from files of anybody's code, for `experiments.evaluate --samples`."""

import zipfile
from pathlib import Path

import numpy as np

from common.build import ConfigError
from common.sample_scores import Pictures

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


def read_pictures(path: Path) -> Pictures:
  """A directory of picture files, or a .npz or .npy file, as uint8 [N, H, W, C].

  A .npz has "images", or one array only, and may have "labels" [N]. Arrays are uint8 [N, H, W, C] or [N, H, W], or
  floats in [0, 1], which are rounded to uint8 as this project's own samples are.

  Raises:
    ConfigError: nothing there, a shape, type or range that is none of these, or pictures that differ in size.
  """
  if path.is_dir():
    return Pictures(_read_directory(path), None)
  if path.suffix not in (".npz", ".npy") or not path.is_file():
    raise ConfigError(f"--samples={path} is not a directory of pictures, nor a .npz or .npy file")
  try:
    if path.suffix == ".npy":
      arrays = {"images": np.load(path, allow_pickle=False)}
    else:
      with np.load(path, allow_pickle=False) as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise ConfigError(f"--samples={path} cannot be read: {error}") from error
  labels = arrays.pop("labels", None)
  if "images" not in arrays and len(arrays) != 1:
    raise ConfigError(f'--samples={path} has the arrays {", ".join(arrays) or "(none)"}; name the pictures "images"')
  images = arrays["images"] if "images" in arrays else next(iter(arrays.values()))
  if labels is not None and (labels.shape != (len(images),) or labels.dtype.kind not in "iu"):
    raise ConfigError(f"--samples={path}: labels are {labels.dtype} {labels.shape}, not whole numbers [{len(images)}]")
  return Pictures(to_uint8(images, path), None if labels is None else labels.astype(np.int32))


def to_uint8(images: np.ndarray, path: Path) -> np.ndarray:
  """uint8 [N, H, W, C] of what `read_pictures` takes."""
  if images.ndim == 3:
    images = images[..., None]
  if images.ndim != 4 or images.shape[-1] not in (1, 3) or not len(images):
    raise ConfigError(f"--samples={path}: pictures of shape {images.shape} are not [N, H, W, 1 or 3]")
  if images.dtype == np.uint8:
    if images.max() <= 1:
      raise ConfigError(f"--samples={path}: uint8 pictures of 0 and 1 only would be black; multiply them by 255")
    return images
  if images.dtype.kind != "f":
    raise ConfigError(f"--samples={path}: pictures are {images.dtype}; store uint8, or floats in [0, 1]")
  if not np.all(np.isfinite(images)):
    raise ConfigError(f"--samples={path}: {np.sum(~np.isfinite(images))} values are not finite")
  low, high = float(images.min()), float(images.max())
  if low < 0.0 or high > 1.0:
    way = "shift and scale them, (x + 1) / 2" if low < 0.0 and high <= 1.0 else "store them as uint8, or divide by 255"
    raise ConfigError(f"--samples={path}: floats must be in [0, 1], and these are in [{low:g}, {high:g}]; {way}")
  return np.rint(images * 255.0).astype(np.uint8)


def _read_directory(path: Path) -> np.ndarray:
  from PIL import Image

  files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
  if not files:
    raise ConfigError(f"--samples={path} has no pictures ({', '.join(SUFFIXES)})")
  rows = []
  for file in files:
    try:
      with Image.open(file) as picture:
        if picture.mode.startswith(("I", "F")):
          raise ConfigError(f"--samples={path}: {file.name} has more than 8 bits a channel; store 8")
        grey = picture.mode in ("1", "L", "LA")
        rows.append(np.asarray(picture.convert("L" if grey else "RGB")))
    except OSError as error:
      raise ConfigError(f"--samples={path}: {file.name} cannot be read as a picture: {error}") from error
    if rows[-1].shape != rows[0].shape:
      raise ConfigError(
        f"--samples={path}: {file.name} is {rows[-1].shape} and {files[0].name} {rows[0].shape}; all must be of one "
        "size, and grey or colour"
      )
  stacked = np.stack(rows)
  return stacked if stacked.ndim == 4 else stacked[..., None]
