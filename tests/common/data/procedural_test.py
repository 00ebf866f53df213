import numpy as np
import pytest

from common.data import procedural
from common.data.dataset import open_dataset
from tests.common.data.settings import data_config


def test_points_lie_around_their_modes():
  data = open_dataset(data_config(name="gaussians8"))
  centers, deviation = procedural.gaussian_modes()
  assert data.spec.kind == "points" and data.spec.image_shape == (1, 1, 2) and data.spec.num_classes == 8
  train = data.train.arrays()
  assert train["image"].dtype == np.float32 and train["image"].shape[1:] == (1, 1, 2)
  points, labels = train["image"][:, 0, 0], train["label"]
  nearest = np.linalg.norm(points[:, None] - centers, axis=-1).argmin(axis=1)
  assert (nearest == labels).all()
  residual = points - centers[labels]
  assert abs(residual.mean(axis=0)).max() < 4 * deviation / np.sqrt(len(points))
  assert residual.std(axis=0) == pytest.approx([deviation] * 2, rel=0.02)
  assert abs(np.corrcoef(residual.T)[0, 1]) < 0.02
  assert np.linalg.norm(centers, axis=1) == pytest.approx([2.0] * 8) and deviation == 0.02  # as in the paper
  share = np.bincount(labels, minlength=8) / len(labels)
  assert share == pytest.approx([1 / 8] * 8, rel=0.1)
  # Splits are other draws, not parts of one.
  assert not np.isin(data.test.arrays()["image"][:, 0, 0, 0], points[:, 0]).all()


@pytest.mark.parametrize("name", ["gaussians8", "blobs"])
def test_a_set_is_the_same_each_time(name):
  def read():
    procedural._uniform.cache_clear()
    procedural._points.cache_clear()
    return open_dataset(data_config(name=name)).train

  first, second = read(), read()
  assert (first.arrays()["image"] == second.arrays()["image"]).all()
  rows = np.array([7, 4000, 1])
  assert (read().rows(rows)["image"] == first.arrays()["image"][rows]).all()


@pytest.mark.parametrize(("size", "channels"), [(28, 1), (16, 3), (64, 3)])
def test_blobs_come_at_any_size(size, channels):
  data = open_dataset(data_config(name="blobs", image_size=size, channels=channels))
  rows = data.train.rows(np.arange(200))
  assert rows["image"].shape == (200, size, size, channels) == (200, *data.spec.image_shape)
  assert rows["image"].dtype == np.uint8 and rows["image"].max() > 200 and rows["image"].min() == 0
  assert set(rows["label"]) == set(range(10)) and data.spec.num_classes == 10


def test_blobs_take_a_number_of_classes_and_differ_by_class():
  data = open_dataset(data_config(name="blobs:4", image_size=16))
  train, test = data.train.arrays(), data.test.arrays()
  assert data.spec.num_classes == 4 and set(train["label"]) == set(range(4))
  means = np.stack([train["image"][train["label"] == label].mean(axis=0) for label in range(4)])
  distance = ((test["image"][:, None] - means) ** 2).sum(axis=(2, 3, 4))
  assert (distance.argmin(axis=1) == test["label"]).mean() > 0.9
