"""Pictures of any size by a function of one size: overlapping tiles, of which the middles are kept."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

Tile = tuple[slice, slice]


class Cut(NamedTuple):
  """A tile of a picture: what is read, and which part of the result is kept, all in pixels of the input."""

  read: Tile
  keep: Tile


def spans(length: int, tile: int, overlap: int) -> Iterator[tuple[slice, slice]]:
  """Yields (read, keep) along one axis; the kept parts cover 0 .. length - 1 once.

  Tiles are ``tile`` long and the last one ends with the picture. What is kept lies at least ``overlap`` inside of its
  tile, except at the ends of the picture.
  """
  step = tile - 2 * overlap
  starts = [*range(0, max(length - tile, 0), step), max(length - tile, 0)]
  kept = 0
  for start in starts:
    last = start == starts[-1]
    end = length if last else start + tile - overlap
    yield slice(start, min(start + tile, length)), slice(kept, end)
    kept = end


def cuts(height: int, width: int, tile: tuple[int, int], overlap: int) -> list[Cut]:
  """Returns the tiles of a picture, row by row."""
  rows, columns = spans(height, tile[0], overlap), list(spans(width, tile[1], overlap))
  return [Cut((y, x), (keep_y, keep_x)) for y, keep_y in rows for x, keep_x in columns]


def tiled(
  restore: Callable[[np.ndarray], np.ndarray],
  seen: np.ndarray,
  out: np.ndarray,
  tile: tuple[int, int],
  overlap: int,
  scale: int,
  done: Callable[[int, int], None] = lambda count, total: None,
) -> None:
  """Restores a picture tile by tile into ``out``.

  A fully convolutional network whose receptive field reaches ``overlap`` pixels at most gives what it gives for the
  whole picture, as tiles at the borders end where the picture ends. A picture smaller than a tile is continued by
  reflection.

  Args:
    restore: maps [h, w, c], as large as ``tile``, to [D, h * scale, w * scale, C].
    seen: the picture, [H, W, c].
    out: receives [D, H * scale, W * scale, C].
    tile: height and width of a tile.
    overlap: pixels on each side of a tile that are not kept; less than half of it.
    scale: the factor by which the result is larger.
    done: called with the number of tiles that are finished, and of all.
  """
  pieces = cuts(seen.shape[0], seen.shape[1], tile, overlap)
  for count, (read, keep) in enumerate(pieces, 1):
    result = restore(filled(seen[read], tile))
    source = tuple(
      slice((k.start - r.start) * scale, (k.stop - r.start) * scale) for r, k in zip(read, keep, strict=True)
    )
    target = tuple(slice(k.start * scale, k.stop * scale) for k in keep)
    out[:, *target] = result[:, *source]
    done(count, len(pieces))


def filled(pixels: np.ndarray, tile: tuple[int, int]) -> np.ndarray:
  """Continues [h, w, c] by reflection, without repeating the border, below and to the right, up to ``tile``."""
  height, width = pixels.shape[:2]
  return np.pad(pixels, ((0, tile[0] - height), (0, tile[1] - width), (0, 0)), "reflect")
