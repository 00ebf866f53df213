"""The pictures that a user wants restored: read with their opacity and metadata, and written as PNG files with both."""

import contextlib
import dataclasses
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np

from common import files
from common.data.archive import is_archive, list_files
from common.data.picture_files import Picture, PictureError, read_picture
from common.data.picture_folder import no_picture
from common.errors import ConfigError

_EXIF_IFD, _WIDTH, _HEIGHT = 0x8769, 0xA002, 0xA003  # tags of EXIF 2.3


@dataclasses.dataclass(frozen=True)
class Original:
  """A file to restore: its path, its name below the folder that it was found in, and that of the result below --out."""

  path: Path
  name: PurePosixPath
  out: PurePosixPath

  def picture(self) -> Picture:
    """Decodes the file.

    Raises:
      PictureError: it is no picture, or a damaged one.
    """
    try:
      with self.path.open("rb") as file:
        picture = read_picture(file, self.path.suffix, background=None)
    except OSError as error:
      raise PictureError(error.strerror or str(error)) from None
    if picture is None:
      raise PictureError(no_picture(self.path.name))
    return picture

  def size(self) -> tuple[int, int]:
    """Returns (width, height) as the file's head states them, or (0, 0) if it cannot be read."""
    from PIL import Image

    try:
      with Image.open(self.path) as picture:
        return picture.size
    except Exception:  # Pillow raises errors of any class on damaged files, which `picture` will name
      return 0, 0


def find(places: list[Path], out: Path) -> list[Original]:
  """Lists the files of folders, and single files, in the order of their names.

  The result of NAME.jpg is NAME.png, or NAME.jpg.png where two files would have the same one.

  Raises:
    ConfigError: a place does not exist or is an archive, or a result would replace a file or lie among the pictures.
  """
  listed: list[tuple[Path, PurePosixPath]] = []
  for place in places:
    if not place.exists():
      raise ConfigError(f"--input={place} does not exist; name a folder or picture files")
    if is_archive(place):
      raise ConfigError(f"--input={place} is an archive; unpack it, and name the folder")
    if place.is_dir() and out.resolve().is_relative_to(place.resolve()):
      raise ConfigError(f"--out={out} lies in --input={place}, where results would be taken for pictures; name another")
    found = list_files(place)[0] if place.is_dir() else [place]
    listed += [
      (file, PurePosixPath(file.relative_to(place).as_posix() if place.is_dir() else file.name)) for file in found
    ]
  results = Counter(name.with_suffix(".png") for _, name in listed)
  originals = []
  for path, name in listed:
    alone = results[name.with_suffix(".png")] == 1
    originals.append(Original(path, name, name.with_suffix(".png") if alone else name.with_name(f"{name.name}.png")))
  if twice := [str(name) for name, count in Counter(original.out for original in originals).items() if count > 1]:
    raise ConfigError(f"--input: several files would become {twice[0]}; restore them in calls of their own")
  inputs = {path.resolve() for path, _ in listed}
  if hit := [original.name for original in originals if (out / original.out).resolve() in inputs]:
    raise ConfigError(
      f"--out={out}: the result would replace {hit[0]}, which is one of --input; name another directory"
    )
  return originals


def opacity(picture: Picture) -> tuple[np.ndarray, np.ndarray | None]:
  """Returns the colours uint8 [H, W, 1 or 3] and the opacity [H, W, 1], None if the picture is opaque."""
  colours = picture.pixels.shape[-1] - (picture.pixels.shape[-1] in (2, 4))
  return picture.pixels[..., :colours], picture.pixels[..., colours:] if colours < picture.pixels.shape[-1] else None


def enlarged(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
  """Resizes uint8 [H, W, 1 or 3] by Pillow's bicubic filter."""
  from PIL import Image

  if pixels.shape[:2] == (height, width):
    return pixels
  image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
  return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)).reshape(height, width, -1)


def save(path: Path, pixels: np.ndarray, alpha: np.ndarray | None, original: Picture) -> None:
  """Writes a result uint8 [H, W, 1 or 3] with the opacity, EXIF block and ICC profile of its original.

  The size in the EXIF block becomes that of the result. A profile for other kinds of colour, such as CMYK, is left out.
  """
  from PIL import Image

  if alpha is not None:
    pixels = np.concatenate([pixels, alpha], axis=-1)
  options: dict[str, bytes] = {}
  kind = b"GRAY" if pixels.shape[-1] < 3 else b"RGB "
  if original.icc_profile[16:20] == kind:  # the color space in the header (ICC.1:2010, 7.2.8)
    options["icc_profile"] = original.icc_profile
  if original.exif:
    options["exif"] = _of_size(original.exif, *pixels.shape[1::-1])
  path.parent.mkdir(parents=True, exist_ok=True)
  with files.replacing(path) as file:
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG", **options)


def _of_size(block: bytes, width: int, height: int) -> bytes:
  from PIL import Image

  with contextlib.suppress(Exception):  # Pillow raises errors of any class on damaged EXIF, which stays as it is
    exif = Image.Exif()
    exif.load(block)
    details = exif.get_ifd(_EXIF_IFD)
    if _WIDTH in details or _HEIGHT in details:
      details.update({_WIDTH: width, _HEIGHT: height})
      return exif.tobytes()
  return block
