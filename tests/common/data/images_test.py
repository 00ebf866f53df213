"""Pictures: rounding, order in the grid, and files that appear whole."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.data import images
from common.data.spec import Spec
from common.errors import ConfigError


def test_to_uint8_rounds_and_clips_in_both_ranges():
  pixels = images.to_uint8(np.array([-0.1, 0.0, 0.5 / 255, 0.6 / 255, 1.0, 2.0]), (0.0, 1.0))
  assert pixels.tolist() == [0, 0, 0, 1, 255, 255]
  assert images.to_uint8(np.array([-1.0, 0.0, 1.0]), (-1.0, 1.0)).tolist() == [0, 128, 255]
  every = np.arange(256, dtype=np.uint8)
  np.testing.assert_array_equal(images.to_uint8(every / 127.5 - 1.0, (-1.0, 1.0)), every)


def test_grid_is_row_by_row_and_magnifies_small_images():
  cells = np.full((5, 16, 16, 1), np.arange(5, dtype=np.uint8)[:, None, None, None] * 10)
  picture = images.grid(cells, columns=2)
  side = 32 + 2 * images.MARGIN
  assert picture.shape == (3 * side, 2 * side, 1)
  centers = picture[side // 2 :: side, side // 2 :: side, 0]
  assert centers.tolist() == [[0, 10], [20, 30], [40, 128]]


def test_captions_lie_under_the_pictures_that_they_are_of():
  cells = np.full((5, 32, 32, 3), 90, np.uint8)
  sheet = images.captioned(cells, ["one", "one", "one", "a long one " * 9, "one"], columns=2)
  side = 64 + 2 * images.MARGIN
  lines = [16 + images.MARGIN, 3 * 16 + images.MARGIN, 16 + images.MARGIN]
  assert sheet.shape == (4 * side + sum(lines), 240, 3)
  ends = np.cumsum([2 * side, lines[0], side, lines[1], side, lines[2]])
  for start, end in zip(ends[::2], ends[1::2], strict=True):
    assert sheet[start:end].max() == 255 and sheet[start:end].min() < 64 and sheet[start - side : start].max() == 128


def test_a_single_picture_is_itself():
  one = np.linspace(0.0, 1.0, 64).reshape(1, 8, 8, 1)
  np.testing.assert_array_equal(images.picture(one, "images", (0.0, 1.0), 8), images.to_uint8(one, (0.0, 1.0))[0])


def test_scatter_puts_a_point_where_it_belongs():
  picture = images.scatter(np.array([[3.0 * 0.5, -3.0 * 0.5], [99.0, 0.0]]), size=101)
  rows, columns = np.nonzero(picture[..., 0] == 0)
  assert (rows.mean(), columns.mean()) == (75, 75)  # right, and below: the y axis points up


def test_png_round_trip_leaves_no_partial_file(tmp_path):
  picture = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
  images.save_png(tmp_path / "a" / "b.png", picture)
  assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.png"]
  with Image.open(tmp_path / "a" / "b.png") as file:
    np.testing.assert_array_equal(np.asarray(file), picture)


def test_a_jpg_is_a_jpeg_file_that_keeps_its_colours(tmp_path):
  picture = np.zeros((16, 16, 3), np.uint8)
  picture[:, ::2, 0] = picture[:, 1::2, 2] = 200  # subsampled colours would be mixed
  images.save_png(tmp_path / "a.jpg", picture)
  with Image.open(tmp_path / "a.jpg") as file:
    assert file.format == "JPEG"
    assert np.abs(np.asarray(file).astype(int) - picture).max() < 20


def test_an_mp4_has_every_frame_in_even_sizes(tmp_path, monkeypatch):
  calls = []

  def write_frames(path, size, **options):
    calls.append((size, options["fps"], options["macro_block_size"]))
    while (frame := (yield)) is not None:
      calls.append(frame)
      Path(path).write_bytes(b"film")

  monkeypatch.setitem(sys.modules, "imageio_ffmpeg", types.SimpleNamespace(write_frames=write_frames))
  frames = np.random.default_rng(0).integers(0, 256, (3, 129, 131, 1), np.uint8)
  images.save_film(tmp_path / "a.mp4", frames)
  assert calls[0] == ((132, 130), 15, 2) and len(calls) == 4
  assert all(frame.shape == (130, 132, 3) and frame.flags.c_contiguous for frame in calls[1:])
  np.testing.assert_array_equal(np.stack(calls[1:])[:, :129, :131], np.repeat(frames, 3, axis=3))
  assert (tmp_path / "a.mp4").read_bytes() == b"film"
  monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
  with pytest.raises(ConfigError, match=r"pip install -e '.\[film\]'; or name a .gif"):
    images.save_film(tmp_path / "b.mp4", frames)


def test_points_are_one_plot(tmp_path):
  spec = Spec((1, 1, 2), 8, 1, "points", (-1.0, 1.0), "")
  for out in (tmp_path, tmp_path / "a.gif"):
    with pytest.raises(ConfigError, match="points make one plot; name a .png"):
      images.save(out, np.zeros((4, 1, 1, 2)), None, spec, 2)
