"""Image grids, scatter plots and PNG files."""

import io
from pathlib import Path

import numpy as np

from common import files
from common.data.spec import Spec

MIN_CELL = 32  # pixels per side; smaller images are magnified by whole factors to be visible
MARGIN = 2  # grey pixels between images


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


def save_png(path: Path, image: np.ndarray) -> bytes:
  """Writes uint8 [H, W, 1 or 3] and returns the file's bytes; the file is written atomically."""
  from PIL import Image

  path.parent.mkdir(parents=True, exist_ok=True)
  encoded = io.BytesIO()
  Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(encoded, format="PNG")
  files.write(path, encoded.getvalue())
  return encoded.getvalue()


def save_film(path: Path, images: np.ndarray, per_second: int = 15) -> None:
  """Writes images uint8 [N, H, W, 1 or 3] as an endless .gif or .webp; small ones are magnified as in `grid`."""
  from PIL import Image

  factor = max(1, -(-4 * MIN_CELL // images.shape[1]))
  large = images.repeat(factor, axis=1).repeat(factor, axis=2)
  first, *rest = (Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image) for image in large)
  encoded = io.BytesIO()
  kind = path.suffix[1:].upper()
  first.save(encoded, kind, save_all=True, append_images=rest, duration=round(1000 / per_second), loop=0)
  path.parent.mkdir(parents=True, exist_ok=True)
  files.write(path, encoded.getvalue())


def save(path: Path, images: np.ndarray, labels: np.ndarray | None, spec: Spec, columns: int) -> None:
  """Writes images [N, H, W, C] in the spec's pixel range, by the ending of ``path``.

  A directory gets a PNG for each image, a .gif or .webp is a film, a .npz has "images" in uint8 and "labels", and
  anything else is one PNG, as `picture` renders it.
  """
  if path.is_dir():
    for i, image in enumerate(to_uint8(images, spec.pixel_range)):
      save_png(path / f"{i:05d}.png", image)
  elif path.suffix in (".gif", ".webp"):
    save_film(path, to_uint8(images, spec.pixel_range))
  elif path.suffix == ".npz":
    arrays = {"images": images if spec.kind == "points" else to_uint8(images, spec.pixel_range)}
    if labels is not None:
      arrays["labels"] = labels
    with files.replacing(path) as file:
      np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
  else:
    save_png(path, picture(images, spec.kind, spec.pixel_range, columns))
