"""Decodes image files as a viewer shows them, as uint8, with a report of what was read, changed and left out.

The content determines the format, which may be any that Pillow reads by itself. An image is rotated as its EXIF says,
and transparent pixels are composited on white or black, unless their opacity is asked for. 16 bits become 8 by
value / 257, rounded; for several 16-bit channels Pillow keeps the high bytes. Palettes, CMYK and the like become RGB,
an animation is reduced to its first frame, and ICC profiles are ignored. Pillow refuses more than 179 million pixels
as a decompression bomb.
"""

import contextlib
import dataclasses
import threading
from collections import Counter
from typing import Any, BinaryIO

import numpy as np

BACKGROUNDS = {"white": 255, "black": 0}

# Pillow identifies these, but cannot decode them, or only with another program (EPS).
_NOT_DRAWN = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
_NOT_KNOWN = (".heic", ".heif", ".jxl", ".svg", ".dng", ".cr2", ".nef", ".arw")
_LARGE = 2**24  # pixels, from which on pictures are decoded one at a time: threads would fill the memory together
_one_large = threading.Lock()
_BLOCK = 2**22  # numbers that are composited at a time, as int32
_LOSSY = {"JPEG", "WEBP", "AVIF", "JPEG2000", "DDS", "BLP", "FTEX", "PCD"}


class PictureError(ValueError):
  """An image file that cannot be read; the text says why."""


@dataclasses.dataclass(frozen=True)
class Picture:
  """One decoded image.

  Attributes:
    pixels: uint8 [H, W, 1 or 3], or [H, W, 2 or 4] with the opacity last, if that was asked for.
    format: "PNG", "JPEG", ...
    lossy: the format, or "palette", if writing such a file can lose detail, else ""; of a JPEG file also the mean step
      of its luminance table.
    changes: conversions after decoding, and properties that were ignored.
    exif: the file's EXIF block without the orientation that ``pixels`` has already; empty if there is none.
    icc_profile: that of the file; empty if there is none.
  """

  pixels: np.ndarray
  format: str
  lossy: str
  changes: tuple[str, ...]
  exif: bytes = b""
  icc_profile: bytes = b""


@dataclasses.dataclass
class Report:
  """Counts of images by format, loss, conversion and reason for leaving out."""

  formats: Counter[str] = dataclasses.field(default_factory=Counter)
  lossy: Counter[str] = dataclasses.field(default_factory=Counter)
  changes: Counter[str] = dataclasses.field(default_factory=Counter)
  left_out: Counter[str] = dataclasses.field(default_factory=Counter)

  def add(self, picture: Picture) -> None:
    self.formats[picture.format] += 1
    self.changes.update(picture.changes)
    if picture.lossy:
      self.lossy[picture.lossy] += 1

  @property
  def quantization(self) -> str:
    """The entry of a score's protocol: "files" if all files are lossless, else the lossy codings."""
    return f"uint8, {', '.join(sorted(self.lossy))}" if self.lossy else "files"

  def record(self) -> dict[str, Any]:
    """Returns the counts for a score's protocol, without empty parts."""
    parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
    return {name: {str(key): parts[name][key] for key in sorted(parts[name])} for name in parts if parts[name]}

  def __str__(self) -> str:
    def said(part: Counter[str]) -> str:
      return ", ".join(f"{count:,} {kind}" for kind, count in sorted(part.items()))

    left_out = f"left out: {said(self.left_out)}" if self.left_out else ""
    return "; ".join(filter(None, [said(self.formats), said(self.changes), left_out]))


def read_picture(file: BinaryIO, suffix: str, background: int | None = 255) -> Picture | None:
  """Decodes an image file, composited on ``background``; None if neither content nor suffix are those of an image.

  With None for a background, the opacity of a transparent image stays, as its last channel.

  Raises:
    PictureError: the image is damaged or truncated, or its conversion to 8 bits is ambiguous.
  """
  from PIL import Image, UnidentifiedImageError  # only image files need it

  Image.init()
  try:
    with Image.open(file, formats=[x for x in Image.OPEN if x not in _NOT_DRAWN]) as picture:
      large = picture.width * picture.height > _LARGE
      with _one_large if large else contextlib.nullcontext():
        return _shown(picture, background)
  except UnidentifiedImageError:
    if not is_picture_suffix(suffix):
      return None
    other = suffix.lower() in _NOT_KNOWN
    reason = f"Pillow does not read {suffix.lower()}; use PNG" if other else "its content is no picture's"
    raise PictureError(reason) from None
  except PictureError:
    raise
  except OSError as error:
    raise PictureError(error.strerror or str(error)) from None
  except Exception as error:  # Pillow's readers raise errors of any class on damaged bytes
    raise PictureError(str(error) or type(error).__name__) from None


def is_picture_suffix(suffix: str) -> bool:
  """Whether files with this suffix, such as ".png", should be pictures, also of formats that are not read."""
  from PIL import Image

  Image.init()
  known = Image.registered_extensions().get(suffix.lower(), "PDF") not in {*_NOT_DRAWN, "PDF"}
  return known or suffix.lower() in _NOT_KNOWN


def _shown(picture: Any, background: int | None) -> Picture:
  from PIL import ImageOps

  changes = []
  name = "JPEG" if picture.format == "MPO" else picture.format
  lossy = name if name in _LOSSY or "jpeg" in str(picture.info.get("compression")) else ""
  if name == "JPEG":  # files of other qualities have other steps of quantization, and their scores do not compare
    lossy = f"JPEG of mean step {np.mean(picture.quantization[0]):.0f}"
  if getattr(picture, "is_animated", False):
    changes.append("first of several frames")
  if any(";16" in str(tile) for tile in picture.tile) or picture.mode.startswith("I;16"):
    changes.append("16 bits to 8")
  if name == "PNG":  # Pillow seeks its EXIF behind the pixels, whose damage would pass for damaged EXIF
    picture.load()
  try:
    turned = picture.getexif().get(0x0112, 1) in range(2, 9)
  except Exception:  # damaged EXIF does not affect the pixels; viewers show the image as stored
    turned = False
    changes.append("damaged EXIF, ignored")
  if turned:
    changes.append("turned by EXIF")
  if picture.info.get("icc_profile"):
    changes.append("ICC profile left alone")
  picture.load()
  upright = ImageOps.exif_transpose(picture) if turned else picture
  pixels, done = _pixels(upright, name, background)
  if picture.mode in ("P", "PA") and pixels.shape[2] >= 3:
    lossy = lossy or "palette"
  exif, profile = (upright.info.get(key) or b"" for key in ("exif", "icc_profile"))
  return Picture(pixels, name, lossy, (*changes, *done), exif, profile)


def _pixels(picture: Any, name: str, background: int | None) -> tuple[np.ndarray, list[str]]:
  """Converts a decoded, upright image to the pixels of `Picture`; returns them with the conversions."""
  mode, deep = picture.mode, None
  if mode.startswith("I;16") or (mode == "I" and name in ("PNG", "PPM")):
    deep = np.asarray(picture).astype(np.uint32)
    pixels = ((2 * deep + 257) // 514).astype(np.uint8)[..., None]
    key = picture.info.get("transparency")
    if key is None:
      return pixels, []
    return over(np.stack([pixels[..., 0], np.where(deep == key, 0, 255)], axis=-1).astype(np.uint8), background)
  if mode in ("I", "F"):
    raise PictureError(
      f"its values are {'floats' if mode == 'F' else 'of 32 bits'} without a stated white; store 8 bits"
    )
  grey = mode in ("1", "L", "LA")
  if picture.has_transparency_data:
    rgba = np.asarray(picture.convert("RGBA"))
    pixels, done = over(rgba[..., (0, 3)] if grey else rgba, background)
  else:
    pixels, done = np.asarray(picture.convert("L" if grey else "RGB")), []
    pixels = pixels[..., None] if grey else pixels
  if mode in ("P", "PA") and pixels.shape[2] == 3 and np.all(pixels == pixels[..., :1]):
    pixels = pixels[..., :1]
  named = {"1": "1 bit to 8", "P": "palette", "PA": "palette"}
  if mode in named or mode not in ("L", "LA", "RGB", "RGBA", "RGBX"):
    done = [*done, named.get(mode, f"{mode} to RGB")]
  return pixels, done


def over(pixels: np.ndarray, background: int | None) -> tuple[np.ndarray, list[str]]:
  """Composites uint8 [..., C + 1], whose last channel is opacity, on a grey level -> uint8 [..., C], changes."""
  if np.all(pixels[..., -1] == 255):
    return pixels[..., :-1], []
  if background is None:
    return pixels, []
  laid = np.empty((*pixels.shape[:-1], pixels.shape[-1] - 1), np.uint8)
  step = max(1, _BLOCK // pixels[0].size)
  for block in (slice(start, start + step) for start in range(0, len(pixels), step)):
    colour, alpha = pixels[block, ..., :-1].astype(np.int32), pixels[block, ..., -1:].astype(np.int32)
    laid[block] = (2 * (colour * alpha + background * (255 - alpha)) + 255) // 510
  name = next(name for name, level in BACKGROUNDS.items() if level == background)
  return laid, [f"transparent, on {name}"]
