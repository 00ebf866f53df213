import numpy as np
import pytest
from PIL import Image

from common.data.resize import described, fit, size_note, target_shape
from common.errors import ConfigError


def test_pad_centres_on_zeros():
  padded = fit(np.full((2, 28, 28, 1), 7, np.uint8), (32, 32, 1), "pad")
  assert padded.shape == (2, 32, 32, 1) and padded.sum() == 2 * 28 * 28 * 7
  assert (padded[:, 2:30, 2:30] == 7).all()


@pytest.mark.parametrize("resize", ["crop", "stretch"])
def test_resizing_is_antialiased(resize):
  # Stripes of one pixel: a filter without antialiasing would keep black or white ones.
  stripes = np.zeros((1, 64, 64, 3), np.uint8)
  stripes[:, :, ::2] = 255
  small = fit(stripes, (16, 16, 3), resize)
  assert abs(small[:, :, 1:-1].astype(int) - 127).max() <= 3


def test_crop_keeps_the_middle_square_and_stretch_all():
  wide = np.zeros((1, 8, 16, 1), np.uint8)
  wide[:, :, 4:12] = 200
  assert (fit(wide, (4, 4, 1), "crop") == 200).all()
  stretched = Image.fromarray(wide[0, ..., 0]).resize((4, 4), Image.Resampling.BILINEAR)
  assert (fit(wide, (4, 4, 1), "stretch")[0, ..., 0] == np.asarray(stretched)).all()
  assert fit(wide, (4, 4, 1), "stretch")[0, 0, 0, 0] < 100  # the black at the edge is there


def test_rectangles_are_cropped_to_their_proportions_padded_or_stretched():
  wide = np.zeros((1, 8, 24, 1), np.uint8)
  wide[:, :, 4:20] = 200  # 8x16 in the middle
  assert (fit(wide, (4, 8, 1), "crop") == 200).all() and fit(wide, (4, 12, 1), "crop")[0, 0, 0, 0] == 0
  tall = wide.swapaxes(1, 2)
  assert (fit(tall, (8, 4, 1), "crop") == 200).all() and fit(tall, (12, 4, 1), "crop")[0, 0, 0, 0] == 0
  assert fit(tall, (30, 10, 1), "pad").sum() == tall.sum()
  assert fit(tall, (4, 8, 1), "stretch").shape == (1, 4, 8, 1)
  assert target_shape((None, None, 3), (48, 64), 0, "crop") == (48, 64, 3)
  assert described((30, 40, 3), (48, 64, 3), "crop") == "bilinear to 48x64"
  assert described((30, 50, 3), (48, 64, 3), "crop") == "middle 48:64, bilinear to 48x64"
  assert "what lies beside it (20%) is cut off" in size_note((30, 50, 3), (48, 64, 3), "crop")
  with pytest.raises(ConfigError, match="image_width=64 lacks a height"):
    target_shape((30, 40, 3), (0, 64), 0, "crop")
  with pytest.raises(ConfigError, match="image_size=48x64 is smaller than the images .30x65"):
    target_shape((30, 65, 3), (48, 64), 0, "pad")


def test_channels_are_repeated_or_weighed_by_luma():
  grey = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
  assert (fit(grey, (4, 4, 3), "pad") == grey).all()
  color = np.zeros((1, 1, 3, 3), np.uint8)
  color[0, 0] = np.diag([255, 255, 255])
  assert fit(color, (1, 3, 1), "pad").ravel().tolist() == [76, 150, 29]
  assert (fit(np.repeat(grey, 3, axis=-1), (4, 4, 1), "pad") == grey).all()


def test_images_that_differ_in_size_come_as_a_list():
  images = [np.full((4, 6, 3), 5, np.uint8), np.full((9, 3, 3), 5, np.uint8)]
  assert (fit(images, (2, 2, 3), "crop") == 5).all()
  with pytest.raises(ConfigError, match="9x3 does not fit"):
    fit(images, (8, 8, 3), "pad")


def test_target_shape():
  assert target_shape((28, 28, 1), (0, 0), 0, "pad") == (28, 28, 1)
  assert target_shape((218, 178, 3), (64, 0), 1, "crop") == (64, 64, 1)
  with pytest.raises(ConfigError, match="differ in size"):
    target_shape((None, None, 3), (0, 0), 0, "pad")
  with pytest.raises(ConfigError, match="the images have 4"):
    target_shape((8, 8, 4), (0, 0), 3, "pad")


@pytest.mark.parametrize(
  ("native", "resize", "done", "said"),
  [
    ((32, 32, 3), "pad", "none", ""),
    ((28, 28, 1), "pad", "padded to 32", "images of 28x28: padded to 32"),
    ((64, 64, 3), "crop", "bilinear to 32", "images of 64x64: bilinear to 32"),
    ((24, 48, 3), "crop", "middle square, bilinear to 32", "what lies beside it (50%) is cut off"),
    ((None, None, 3), "crop", "middle square, bilinear to 32", "images of several sizes: middle square"),
    ((24, 48, 3), "stretch", "stretched, bilinear to 32", "images of 24x48: stretched"),
  ],
)
def test_what_is_done_to_the_size_is_said(native, resize, done, said):
  assert described(native, (32, 32, 3), resize) == done
  assert said in size_note(native, (32, 32, 3), resize) and bool(size_note(native, (32, 32, 3), resize)) == bool(said)
