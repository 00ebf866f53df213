"""What a source of the user's own returns is checked where it is read."""

import re

import numpy as np
import pytest

from common.data import dataset
from common.data.dataset import Split, open_dataset
from common.data.source import ArraySource
from common.errors import ConfigError
from tests.common.data.settings import data_config

IMAGES, LABELS, POINTS = np.full((6, 4, 4, 1), 200, np.uint8), np.arange(6) % 3, np.zeros((6, 1, 1, 2), np.float32)


class Own(ArraySource):
  """Returns what it is made of, however many examples are asked for."""

  def read(self, split, indices):
    return self.load(split)


def rows(images, labels, *, native=(4, 4, 1), kind="images", shape=None):
  source = Own("own", native, 3, {"train": 6}, lambda split: {"image": images, "label": labels}, kind, in_memory=False)
  return Split(source, ("train", 0, 6), shape or native, "crop").rows(np.arange(6))


@pytest.mark.parametrize(
  ("images", "labels", "message"),
  [
    (
      IMAGES / np.float32(255),
      LABELS,
      "images of float32; return uint8 from 0, black, to 255, white: np.rint(255 * x)",
    ),
    (IMAGES > 0, LABELS, "images of bool; return uint8"),
    (list(IMAGES[:5]) + [IMAGES[5] / 255], LABELS, "images of float64; return uint8"),
    (IMAGES[..., 0], LABELS, "images of shape (4, 4), and native_shape is (4, 4, 1); make them equal (x[..., None]"),
    (np.repeat(IMAGES, 3, axis=3), LABELS, "images of shape (4, 4, 3), and native_shape is (4, 4, 1)"),
    (IMAGES[:, :3], LABELS, "images of shape (3, 4, 1), and native_shape is (4, 4, 1)"),
    (IMAGES[:5], LABELS, "5 images and labels of shape (6,) for 6 indices; return one of each"),
    (IMAGES, LABELS[:5], "6 images and labels of shape (5,) for 6 indices"),
    (IMAGES, np.eye(3)[LABELS], "6 images and labels of shape (6, 3) for 6 indices"),
    (IMAGES, LABELS.astype(float), "labels of float64; return whole numbers, as labels.astype(np.int32) does"),
    (IMAGES, LABELS + 1, "label 3 is out of range 0 .. 2; number the classes from 0, below num_classes=3"),
    (IMAGES, LABELS - 1, "label -1 is out of range 0 .. 2"),
  ],
)
def test_what_breaks_the_contract_of_a_source_is_refused(images, labels, message):
  with pytest.raises(ConfigError, match=re.escape(message)) as error:
    rows(images, labels)
  assert str(error.value).startswith('"own" train: ')


def test_a_source_gives_images_and_labels():
  own = Own("own", (4, 4, 1), 3, {"train": 6}, lambda split: {"image": IMAGES}, in_memory=False)
  with pytest.raises(ConfigError, match=r'"own" train: read\(\) gave no "label"; return {"image": images, "label"'):
    Split(own, ("train", 0, 6), (4, 4, 1), "crop").rows(np.arange(6))
  captioned = {"image": IMAGES, "label": LABELS, "text": ["a"] * 5}
  own = Own("own", (4, 4, 1), 3, {"train": 6}, lambda split: captioned, in_memory=False)
  with pytest.raises(ConfigError, match="gave 5 captions for 6 indices"):
    Split(own, ("train", 0, 6), (4, 4, 1), "crop").rows(np.arange(6))


def test_points_are_float32():
  assert rows(POINTS, LABELS, native=(1, 1, 2), kind="points")["image"].dtype == np.float32
  with pytest.raises(ConfigError, match=r"points of float64; return float32: x\.astype"):
    rows(POINTS.astype(float), LABELS, native=(1, 1, 2), kind="points")


def test_sizes_may_differ_where_native_shape_says_so_or_be_those_of_the_config():
  sizes = [np.zeros((4 + i, 5, 1), np.uint8) for i in range(6)]
  assert rows(sizes, LABELS.astype(np.uint8), native=(None, None, 1), shape=(4, 4, 1))["image"].shape == (6, 4, 4, 1)
  assert rows(IMAGES, list(LABELS), native=(9, 9, 1), shape=(4, 4, 1))["label"].tolist() == LABELS.tolist()


def test_the_native_shape_has_channels(monkeypatch):
  own = Own("own", (4, 4), 3, {"train": 6}, lambda split: {"image": IMAGES[..., 0], "label": LABELS})
  monkeypatch.setattr(dataset, "open_source", lambda data, say: own)
  with pytest.raises(ConfigError, match=r"native_shape=\(4, 4\) must be \(height, width, channels\)"):
    open_dataset(data_config())
