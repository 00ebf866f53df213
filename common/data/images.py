"""Image grids, scatter plots, files of pictures and films."""

import io
import itertools
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common import files
from common.data.spec import Spec
from common.errors import ConfigError

MIN_CELL = 32  # pixels per side; smaller images are magnified by whole factors to be visible
MARGIN = 2  # grey pixels between images
FILMS = (".gif", ".webp", ".mp4")
_LEGIBLE, _LETTER, _LINE = 240, 7, 16  # pixels: the least width of captions, and the most of a letter and of a line


def to_uint8(images: np.ndarray, pixel_range: tuple[float, float]) -> np.ndarray:
  """Converts floats in ``pixel_range`` to uint8, rounded and clipped."""
  low, high = pixel_range
  return np.clip(np.rint((np.asarray(images, np.float32) - low) * (255.0 / (high - low))), 0, 255).astype(np.uint8)


def grid(images: np.ndarray, columns: int) -> np.ndarray:
  """Tiles images uint8 [N, H, W, C] row by row into one, [rows * h, columns * w, C]; unused cells are grey."""
  factor = max(1, -(-MIN_CELL // images.shape[1]))
  images = images.repeat(factor, axis=1).repeat(factor, axis=2)
  images = np.pad(images, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), constant_values=128)
  count, height, width, channels = images.shape
  rows = -(-count // columns)
  cells = np.full((rows * columns, height, width, channels), 128, np.uint8)
  cells[:count] = images
  cells = cells.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
  return cells.reshape(rows * height, columns * width, channels)


def captioned(images: np.ndarray, captions: Sequence[str], columns: int) -> np.ndarray:
  """Tiles images uint8 [N, H, W, C] as `grid`, neighbours of one caption together and the caption under them."""
  from PIL import Image, ImageDraw

  factor = max(1, -(-2 * MIN_CELL // images.shape[1]))
  images = images.repeat(factor, axis=1).repeat(factor, axis=2)
  blocks = []
  for caption, group in itertools.groupby(range(len(images)), captions.__getitem__):
    own = images[list(group)]
    blocks.append((caption, grid(own, min(columns, len(own)))))
  width, parts = max(_LEGIBLE, *(block.shape[1] for _, block in blocks)), []
  for caption, block in blocks:
    lines = textwrap.wrap(caption, width // _LETTER)
    strip = Image.new("L", (width, _LINE * len(lines) + MARGIN), 255)
    ImageDraw.Draw(strip).text((MARGIN, 0), "\n".join(lines), fill=0)
    wide = np.pad(block, ((0, 0), (0, width - block.shape[1]), (0, 0)), constant_values=128)
    parts += [wide, np.asarray(strip)[..., None].repeat(images.shape[-1], axis=-1)]
  return np.concatenate(parts)


def scatter(points: np.ndarray, size: int = 256, extent: float = 3.0) -> np.ndarray:
  """Plots points [N, 2] in [-extent, extent]^2 as black dots on a white image, uint8 [size, size, 1]."""
  picture = np.full((size, size, 1), 255, np.uint8)
  cells = np.rint((np.asarray(points) / extent + 1.0) * (size - 1) / 2.0).astype(np.int64)
  for x, y in cells[np.all((cells >= 1) & (cells < size - 1), axis=-1)]:
    picture[size - 1 - y - 1 : size - 1 - y + 2, x - 1 : x + 2] = 0
  return picture


def picture(images: np.ndarray, kind: str, pixel_range: tuple[float, float], columns: int) -> np.ndarray:
  """Renders for display: a grid of images, a single image as it is, or a scatter plot of points [N, 1, 1, 2]."""
  if kind == "points":
    return scatter(np.asarray(images).reshape(-1, 2))
  pixels = to_uint8(images, pixel_range)
  return pixels[0] if len(pixels) == 1 else grid(pixels, columns)


def png(image: np.ndarray) -> bytes:
  """Returns the PNG file of a picture uint8 [H, W, 1 or 3]."""
  encoded = io.BytesIO()
  _pillow(image).save(encoded, format="PNG")
  return encoded.getvalue()


def save_png(path: Path, image: np.ndarray) -> bytes:
  """Writes uint8 [H, W, 1 or 3] atomically, as a JPEG where ``path`` is a .jpg, and returns the bytes of the file."""
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.suffix == ".jpg":
    file = io.BytesIO()
    _pillow(image).save(file, format="JPEG", quality=95, subsampling=0)  # without subsampling of the colours
    content = file.getvalue()
  else:
    content = png(image)
  files.write(path, content)
  return content


def _pillow(image: np.ndarray) -> Any:
  from PIL import Image

  return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def save_film(path: Path, images: np.ndarray, per_second: int = 15) -> None:
  """Writes images uint8 [N, H, W, 1 or 3] as an endless .gif or .webp, or an .mp4; small ones are magnified.

  Raises:
    ConfigError: an .mp4 without the package that writes one.
  """
  factor = max(1, -(-4 * MIN_CELL // images.shape[1]))
  large = images.repeat(factor, axis=1).repeat(factor, axis=2)
  if path.suffix == ".mp4":
    files.write(path, _mp4(large, per_second))
    return
  first, *rest = map(_pillow, large)
  encoded = io.BytesIO()
  kind = path.suffix[1:].upper()
  first.save(encoded, kind, save_all=True, append_images=rest, duration=round(1000 / per_second), loop=0)
  path.parent.mkdir(parents=True, exist_ok=True)
  files.write(path, encoded.getvalue())


def ffmpeg() -> Any:
  """Returns the module that writes an .mp4.

  Raises:
    ConfigError: it is not installed.
  """
  try:
    import imageio_ffmpeg
  except ImportError:
    raise ConfigError("an .mp4 needs an extra, pip install -e '.[film]'; or name a .gif or .webp") from None
  return imageio_ffmpeg


def _mp4(images: np.ndarray, per_second: int) -> bytes:
  """Encodes uint8 [N, H, W, 1 or 3] in H.264; an odd height or width is made even by a row or column more."""
  height, width = images.shape[1:3]
  even = np.pad(images, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
  frames = np.broadcast_to(even, (*even.shape[:3], 3))
  with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "film.mp4"
    size = (frames.shape[2], frames.shape[1])
    writer = ffmpeg().write_frames(str(file), size, fps=per_second, macro_block_size=2, quality=8)
    writer.send(None)
    for frame in frames:
      writer.send(np.ascontiguousarray(frame))
    writer.close()
    return file.read_bytes()


def save(
  path: Path,
  images: np.ndarray,
  labels: np.ndarray | None,
  spec: Spec,
  columns: int,
  numbers: np.ndarray | None = None,
  captions: Sequence[str] | None = None,
) -> None:
  """Writes images [N, H, W, C] in the spec's pixel range, by the ending of ``path``.

  A directory gets a PNG for each image, named by ``numbers`` [N], or else from 0 on. One of FILMS is a film, a .npz has
  "images" in uint8 and "labels", and anything else is one picture, as `captioned` or `picture` renders it.

  Raises:
    ConfigError: points, which are one plot, as a film or in a directory.
  """
  if spec.kind == "points" and (path.is_dir() or path.suffix in FILMS):
    raise ConfigError(f"--out={path}: points make one plot; name a .png or .jpg, or a .npz for their coordinates")
  if path.is_dir():
    names = np.arange(len(images)) if numbers is None else numbers
    for number, image in zip(names, to_uint8(images, spec.pixel_range), strict=True):
      save_png(path / f"{number:05d}.png", image)
  elif path.suffix in FILMS:
    save_film(path, to_uint8(images, spec.pixel_range))
  elif path.suffix == ".npz":
    arrays = {"images": images if spec.kind == "points" else to_uint8(images, spec.pixel_range)}
    if labels is not None:
      arrays["labels"] = labels
    with files.replacing(path) as file:
      np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
  elif captions:
    save_png(path, captioned(to_uint8(images, spec.pixel_range), captions, columns))
  else:
    save_png(path, picture(images, spec.kind, spec.pixel_range, columns))
