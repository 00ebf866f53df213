"""Tiles give what the whole picture gives, each pixel once."""

import numpy as np
import pytest

from experiments.restoration.tiles import spans, tiled


@pytest.mark.parametrize("length", [1, 39, 40, 41, 70, 71, 100, 257])
def test_what_is_kept_covers_a_line_once_and_lies_inside_of_its_tile(length):
  tile, overlap = 40, 5
  pieces = list(spans(length, tile, overlap))
  assert [x for _, keep in pieces for x in range(keep.start, keep.stop)] == list(range(length))
  for read, keep in pieces:
    assert read.stop - read.start == min(tile, length)
    assert keep.start == 0 or keep.start - read.start >= overlap
    assert keep.stop == length or read.stop - keep.stop >= overlap


def blurred(x):
  """Sums 5x5 pixels, with zeros around, and doubles the picture: [h, w, c] -> [1, 2 h, 2 w, c]."""
  padded = np.pad(x, ((2, 2), (2, 2), (0, 0)))
  height, width, _ = x.shape
  total = sum(padded[i : i + height, j : j + width] for i in range(5) for j in range(5))
  return total.repeat(2, axis=0).repeat(2, axis=1)[None]


@pytest.mark.parametrize("size", [(40, 60), (21, 20), (33, 57)])
def test_tiles_equal_the_whole_picture_when_the_overlap_holds_the_receptive_field(size):
  picture = np.random.default_rng(0).integers(0, 255, (*size, 3))
  out, counts = np.zeros((1, 2 * size[0], 2 * size[1], 3), int), []
  tiled(blurred, picture, out, (20, 20), 2, 2, lambda *count: counts.append(count))
  np.testing.assert_array_equal(out, blurred(picture))
  assert counts[-1] == (len(counts), len(counts))
  out[:] = 0
  tiled(blurred, picture, out, (20, 20), 1, 2)
  assert np.any(out != blurred(picture))  # an overlap of 1 does not hold it


def test_a_picture_smaller_than_a_tile_is_continued_by_reflection():
  seen = []
  picture = np.arange(6).reshape(2, 3, 1)
  out = np.zeros((1, 2, 3, 1), int)
  tiled(lambda x: seen.append(x) or x[None], picture, out, (4, 5), 1, 1)
  np.testing.assert_array_equal(seen[0][..., 0], np.pad(picture[..., 0], ((0, 2), (0, 2)), "reflect"))
  np.testing.assert_array_equal(out[0], picture)
