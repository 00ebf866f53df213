import dataclasses
import json
import pathlib

import numpy as np
import pytest

from common.data import memory
from common.data.dataset import open_dataset, split_range
from common.data.digits import digits
from common.data.spec import RowType, Spec
from common.errors import ConfigError
from tests.common.data.settings import data_config

ROOT = pathlib.Path(__file__).parents[3]


def test_digits_have_fixed_disjoint_splits_of_the_original_values():
  data = open_dataset(data_config())
  splits = [data.train.arrays(), data.validation.arrays(), data.test.arrays()]
  assert [len(split["label"]) for split in splits] == [1400, 97, 300]
  images = np.concatenate([split["image"] for split in splits])
  labels = np.concatenate([split["label"] for split in splits])
  assert images.shape == (1797, 8, 8, 1) and images.dtype == np.uint8 and labels.dtype == np.int32
  with np.load(ROOT / "common/data/digits.npz", allow_pickle=False) as archive:
    stored, stored_labels = archive["images"], archive["labels"]
  assert stored.max() == 16
  levels = {round(level * 255 / 16) for level in range(17)}
  assert set(np.unique(images)) == levels
  # All of the stored ones and each once: the splits are disjoint.
  ours = sorted((label, image.tobytes()) for image, label in zip(images[..., 0], labels, strict=True))
  scaled = np.rint(stored * (255 / 16)).astype(np.uint8)
  assert ours == sorted((label, image.tobytes()) for image, label in zip(scaled, stored_labels, strict=True))


def test_spec_describes_the_train_split_and_changes_with_it():
  spec = open_dataset(data_config(pixel_range=(-1.0, 1.0))).spec
  assert (spec.image_shape, spec.num_classes, spec.num_examples, spec.kind) == ((8, 8, 1), 10, 1400, "images")
  assert spec.pixel_range == (-1.0, 1.0)
  assert spec.fingerprint == open_dataset(data_config()).spec.fingerprint
  others = [{"train_split": "train[:1399]"}, {"train_split": "train[1:]"}, {"image_size": 16}]
  fingerprints = {open_dataset(data_config(**change)).spec.fingerprint for change in others}
  assert len(fingerprints | {spec.fingerprint}) == 4


def test_rows_and_slices_are_the_arrays_rows():
  data = open_dataset(data_config(train_split="train[100:]", validation_split="train[:100]"))
  whole = open_dataset(data_config()).train.arrays()
  rows = data.train.rows(np.array([3, 0, 1299]))
  assert (rows["image"] == whole["image"][[103, 100, 1399]]).all()
  assert (rows["label"] == whole["label"][[103, 100, 1399]]).all()
  with pytest.raises(IndexError):
    data.validation.rows(np.array([100]))  # the example is there, in another split


def test_a_split_that_memory_does_not_hold_is_refused(monkeypatch):
  data = open_dataset(data_config(name="blobs"))
  monkeypatch.setattr(memory, "available", lambda: 20 * 2**20)
  with pytest.raises(
    ConfigError, match=r'the 4,096 examples of "blobs" train needs 24 MB .* 20 MB are free; take fewer'
  ):
    data.train.arrays()
  assert len(data.validation.arrays()["label"]) == 512 and len(data.train.rows(np.arange(9))["label"]) == 9


@pytest.mark.parametrize("name", ["digits", "gaussians8", "blobs"])
def test_nbytes_is_what_the_arrays_take(name):
  train = open_dataset(data_config(name=name)).train
  assert train.nbytes == sum(array.nbytes for array in train.arrays().values())


def test_evaluation_splits_are_binarized_once_in_the_published_protocol():
  grey = open_dataset(data_config())
  binary = open_dataset(data_config(binarize="dynamic"))
  generator = np.random.RandomState(777)
  validation = generator.binomial(1, grey.validation.arrays()["image"] / 255)
  test = generator.binomial(1, grey.test.arrays()["image"] / 255)
  # Test first: it must not matter in which order, or whether, the splits are opened.
  assert (binary.test.arrays()["image"] == 255 * test).all()
  assert (binary.validation.arrays()["image"] == 255 * validation).all()
  assert (binary.test.rows(np.arange(5))["image"] == 255 * test[:5]).all()
  assert (binary.train.arrays()["image"] == grey.train.arrays()["image"]).all()
  assert binary.spec.fingerprint == grey.spec.fingerprint


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"binarize": "dynamic", "dequantize": True}, "contradict"),
    ({"name": "gaussians8", "flip": True}, "set --config.data.flip=False"),
    ({"name": "gaussians8", "image_size": 32}, "set --config.data.image_size=0"),
    ({"image_size": 4}, "config.data.image_size=4 is smaller than the images (8x8)"),
    ({"test_split": "tets"}, 'did you mean "test"'),
  ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_read(changes, message, monkeypatch):
  monkeypatch.setattr("common.data.dataset.Split._read_all", None)
  with pytest.raises(ConfigError) as error:
    open_dataset(data_config(**changes))
  assert message in str(error.value)


def test_opening_reads_no_images(monkeypatch):
  source = digits()
  monkeypatch.setattr(type(source), "read", None)
  data = open_dataset(data_config())
  assert (len(data.train), len(data.validation), len(data.test)) == (1400, 97, 300)


def test_a_missing_set_is_one_short_error_that_says_what_to_do(tmp_path):
  with pytest.raises(ConfigError) as error:
    open_dataset(data_config(name="fashion_mnits", dir=str(tmp_path)))
  text = str(error.value)
  assert 'did you mean "fashion_mnist"?' in text and str(tmp_path) in text
  assert len(text.splitlines()) <= 4
  with pytest.raises(ConfigError, match="apt-get install dataset-fashion-mnist") as error:
    open_dataset(data_config(name="fashion_mnist", dir=str(tmp_path)))
  for advice in ("--config.data.dir=DIR", "--config.data.download=True", "tfds-prepare", "train-images-idx3-ubyte"):
    assert advice in str(error.value)


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("train", ("train", 0, 100)),
    ("train[:80]", ("train", 0, 80)),
    ("train[80:]", ("train", 80, 100)),
    ("train[20:30]", ("train", 20, 30)),
    ("train[-5:]", ("train", 95, 100)),
    ("test[:-4]", ("test", 0, 6)),
    ("test[:]", ("test", 0, 10)),
  ],
)
def test_a_split_is_a_name_and_a_range(text, expected):
  assert split_range(text, {"train": 100, "test": 10}, "config.data.train_split") == expected


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("trian", 'did you mean "train"'),
    ("validation", "the set has train, test"),
    ("train[:200]", 'out of range: "train" has 100 examples'),
    ("train[-101:]", "out of range"),
    ("train[50:50]", "is empty"),
    ("train[100:]", "is empty"),
    ("train[:10%]", "is not a split"),
    ("train[5]", "is not a split"),
    ("", "is not a split"),
  ],
)
def test_a_bad_split_is_an_error_that_names_the_field(text, message):
  with pytest.raises(ConfigError, match="config.data.train_split") as error:
    split_range(text, {"train": 100, "test": 10}, "config.data.train_split")
  assert message in str(error.value)


def test_a_spec_comes_back_from_json_and_an_old_one_has_labels_only():
  spec = open_dataset(data_config()).spec
  seen = RowType("seen", (4, 4, 3), "float32")
  more = dataclasses.replace(spec, rows=(*spec.rows, seen))
  record = json.loads(json.dumps(dataclasses.asdict(more)))
  assert Spec.from_json(record) == more and Spec.from_json(record).rows[1].shape == (4, 4, 3)
  del record["rows"]
  assert Spec.from_json(record) == spec and spec.differences(more) == [f"data.rows: {spec.rows} -> {more.rows}"]


def test_models_see_windows_and_what_is_left_of_them():
  degradation = ({"name": "resize", "scale": 2}, {"name": "pixels"})
  dataset = open_dataset(data_config(crop=6, degradation=degradation))
  assert dataset.train.row_types["image"][0] == (8, 8, 1) and dataset.spec.image_shape == (6, 6, 1)
  assert dataset.spec.rows == (("label", (), "int32"), ("seen", (3, 3, 2), "float32"))
  middle = dataset.train.arrays()["image"][:, 1:7, 1:7].mean(axis=0) / 255
  np.testing.assert_allclose(dataset.mean_image, middle, atol=1e-6)
  assert Spec.from_json(json.loads(json.dumps(dataclasses.asdict(dataset.spec)))) == dataset.spec


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"crop": 9}, "config.data.crop=9: the images have 8x8 pixels; set --config.data.crop=8 or less"),
    ({"degradation": ({"name": "resize", "scale": 3},)}, r"config.data.degradation: scale=3 .*--config.data.crop=6"),
    ({"degradation": ({"name": "grey"},)}, "config.data.degradation: grey needs images of 3 channels"),
    ({"degradation": ({"name": "box", "height": 9, "width": 3},)}, "a box of 9x3 does not fit in images of 8x8"),
    ({"name": "gaussians8", "crop": 1}, 'config.data.crop: "gaussians8" has points, not images'),
  ],
)
def test_a_window_or_damage_that_does_not_fit_is_refused(changes, message):
  with pytest.raises(ConfigError, match=message):
    open_dataset(data_config(**changes))
