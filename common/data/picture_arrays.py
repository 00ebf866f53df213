"""Reads images from .npz and .npy files as uint8, with a `common.data.picture_files.Report` of the conversions."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from common.data.picture_files import Report, over
from common.data.source import to_white_255, white_of
from common.errors import ConfigError


def read_arrays(path: Path, background: int = 255) -> tuple[np.ndarray, np.ndarray | None, Report]:
  """Returns a file's images uint8 [N, H, W, 1 or 3], its labels int32 [N] or None, and a report.

  A .npz has "images", or a single array, and may have "labels" [N]. Arrays are [N, H, W] or [N, H, W, C]; a second or
  fourth channel is opacity. They are uint8, bool, or floats in [0, 1], which are rounded like this project's own
  samples. If a uint8 array has 0 and 1 only, 1 is white.

  Raises:
    ConfigError: not such a file, or another shape, dtype or range.
  """
  try:
    with path.open("rb") as file:
      if file.read(2) not in (b"PK", b"\x93N"):
        raise ConfigError(f"{path} is no .npz or .npy file; of pictures in files of their own, name the directory")
      file.seek(0)
      loaded = np.load(file, allow_pickle=False)
      arrays = {"images": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
  except ConfigError:
    raise
  except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
    raise ConfigError(f"{path} cannot be read as .npz or .npy: {error}") from error
  if other := next((name for name, array in arrays.items() if not isinstance(array, np.ndarray)), None):
    raise ConfigError(f"{path} has {other}, which is no array; unpack it, and name the directory")
  labels = arrays.pop("labels", None)
  if "images" not in arrays and len(arrays) != 1:
    raise ConfigError(f'{path} has the arrays {", ".join(arrays) or "(none)"}; name the pictures "images"')
  images = arrays["images"] if "images" in arrays else next(iter(arrays.values()))
  if labels is not None and (labels.shape != (len(images),) or labels.dtype.kind not in "iu"):
    raise ConfigError(f"{path}: labels are {labels.dtype} {labels.shape}, not whole numbers [{len(images)}]")
  report = Report()
  report.formats[f"{path.suffix.lstrip('.') or 'npy'} of {images.dtype}"] = len(images)
  pixels = _to_uint8(images, path, report)
  if pixels.shape[3] in (2, 4):
    pixels, done = over(pixels, background)
    report.changes.update({change: len(pixels) for change in done})
  return pixels, None if labels is None else labels.astype(np.int32), report


def _to_uint8(images: np.ndarray, path: Path, report: Report) -> np.ndarray:
  """Converts to uint8 [N, H, W, C]."""
  if images.ndim == 3:
    images = images[..., None]
  if images.ndim != 4 or images.shape[-1] not in (1, 2, 3, 4) or not len(images):
    way = "; transpose them, x.transpose(0, 2, 3, 1)" if images.ndim == 4 and images.shape[1] in (1, 3) else ""
    raise ConfigError(f"{path}: pictures of shape {images.shape} are not [N, H, W, 1 or 3]{way}")
  if not images.size:
    raise ConfigError(f"{path}: pictures of shape {images.shape} have no pixels; write them anew")
  if images.dtype == np.bool_ or images.dtype == np.uint8:
    white = 1 if images.dtype == np.bool_ else white_of(images)[0]
    if white == 1:
      report.changes["0 and 1 as 0 and 255"] = len(images)
    return to_white_255(images, white, str(path))
  if images.dtype.kind != "f":
    raise ConfigError(f"{path}: pictures are {images.dtype}; store uint8, or floats in [0, 1]")
  if not np.all(np.isfinite(images)):
    raise ConfigError(f"{path}: {np.sum(~np.isfinite(images))} values are not finite")
  low, high = float(images.min()), float(images.max())
  if low < 0.0 or high > 1.0:
    way = "shift and scale them, (x + 1) / 2" if low < 0.0 and high <= 1.0 else "store them as uint8, or divide by 255"
    raise ConfigError(f"{path}: floats must be in [0, 1], and these are in [{low:g}, {high:g}]; {way}")
  report.changes["floats, rounded"] = len(images)
  return np.rint(images * 255.0).astype(np.uint8)
