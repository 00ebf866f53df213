import importlib.util
import json
import shutil
import socket

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from common.data import tfds_source
from common.data.dataset import open_dataset
from common.data.prepare import prepare_set
from common.errors import ConfigError
from tests.common.data.settings import data_config

IMAGES = np.random.RandomState(0).randint(0, 256, (25, 8, 6, 3), np.uint8)


class TinyPictures(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Prepared without TensorFlow: PIL images need none."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    features = {
      "image": tfds.features.Image(shape=(8, 6, 3)),
      "label": tfds.features.ClassLabel(num_classes=5),
      "extra": tfds.features.Scalar(np.int64),
    }
    return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

  def _split_generators(self, _):
    return {"train": self._generate_examples(0, 20), "test": self._generate_examples(20, 25)}

  def _generate_examples(self, start, stop):
    for i in range(start, stop):
      yield i, {"image": Image.fromarray(IMAGES[i]), "label": i % 5, "extra": i}


class Letters(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Labels 1 .. 3 of 5, as emnist/letters has 1 .. 26 of 37; stored as bool, as 0 and 1, or in 16 bits."""

  VERSION = tfds.core.Version("1.0.0")
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in ("bool", "bytes", "uint16")]

  def _info(self):
    pictures = tfds.features.Image(shape=(4, 4, 1))
    tensors = {name: tfds.features.Tensor(shape=(4, 4, 1), dtype=getattr(np, name)) for name in ("bool_", "uint16")}
    image = {"bytes": pictures, "bool": tensors["bool_"], "uint16": tensors["uint16"]}[self.builder_config.name]
    features = {"image": image, "label": tfds.features.ClassLabel(num_classes=5)}
    return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

  def _split_generators(self, _):
    return {"train": self._generate_examples(20), "test": self._generate_examples(5)}

  def _generate_examples(self, count):
    for i in range(count):
      image = IMAGES[i, :4, :4, 0] % 2
      kinds = {"bytes": Image.fromarray(image), "bool": image[..., None] > 0}
      yield i, {"image": kinds.get(self.builder_config.name, image[..., None].astype(np.uint16)), "label": 1 + i % 3}


@pytest.mark.parametrize("kind", ["bool", "bytes"])
def test_pixels_of_0_and_1_are_black_and_white_and_classes_are_those_that_occur(tmp_path, kind):
  Letters(config=kind, data_dir=tmp_path, file_format="array_record").download_and_prepare()
  data = open_dataset(config(tmp_path, name=f"letters/{kind}", train_split="train", validation_split="test"))
  images = data.train.arrays()["image"]
  expected = sorted((255 * (image[:4, :4, :1] % 2)).tobytes() for image in IMAGES[:20])
  assert images.dtype == np.uint8 and sorted(image.tobytes() for image in images) == expected
  assert data.spec.num_classes == 5 and data.spec.labels == (1, 2, 3)
  assert [note.partition(";")[0] for note in data.notes] == [
    "pixels are stored as 0 and 1",
    "of the labels 0 .. 4 the train split has 1, 2, 3 only",
  ]


def test_pixels_whose_white_nobody_knows_are_refused(tmp_path):
  Letters(config="uint16", data_dir=tmp_path, file_format="array_record").download_and_prepare()
  with pytest.raises(ConfigError, match="images are uint16, and what is white in them is not known"):
    open_dataset(config(tmp_path, name="letters/uint16"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  directory = tmp_path_factory.mktemp("tfds")
  TinyPictures(data_dir=directory, file_format="array_record").download_and_prepare()
  return directory


def config(directory, **changes):
  settings = {"name": "tiny_pictures", "dir": str(directory), "train_split": "train[:15]"}
  return data_config(**settings | {"validation_split": "train[15:]"} | changes)


def numbers_of(images: np.ndarray) -> list[int]:
  """Where each picture is in IMAGES: tfds shuffles what it writes."""
  known = {image.tobytes(): i for i, image in enumerate(IMAGES)}
  return [known[image.tobytes()] for image in images]


def test_a_prepared_set_is_read_without_tensorflow(prepared):
  data = open_dataset(config(prepared))
  assert (data.spec.image_shape, data.spec.num_classes, data.spec.num_examples) == ((8, 6, 3), 5, 15)
  train, validation, test = (split.arrays() for split in (data.train, data.validation, data.test))
  numbers = [numbers_of(split["image"]) for split in (train, validation, test)]
  assert sorted(numbers[0] + numbers[1]) == list(range(20)) and sorted(numbers[2]) == list(range(20, 25))
  assert (train["label"] == np.array(numbers[0]) % 5).all()


def test_only_the_rows_asked_for_are_decoded(prepared):
  data = open_dataset(config(prepared, image_size=4, resize="crop", channels=1))
  rows = data.train.rows(np.array([9, 2]))
  assert data.train._arrays is None and rows["image"].shape == (2, 4, 4, 1)
  assert (rows["image"] == data.train.arrays()["image"][[9, 2]]).all()
  assert open_dataset(config(prepared)).spec.fingerprint != data.spec.fingerprint


def test_it_is_copied_into_a_prepared_set(prepared, tmp_path):
  data = open_dataset(config(prepared))
  prepare_set(data.source, tmp_path / "out", (8, 6, 3), "pad")
  copy = open_dataset(config(tmp_path / "out"))
  assert (copy.source.sizes, copy.spec.class_names) == ({"train": 20, "test": 5, "all": 25}, data.spec.class_names)
  for split in ("train", "validation", "test"):
    for name, values in getattr(data, split).arrays().items():
      np.testing.assert_array_equal(getattr(copy, split).arrays()[name], values)


def test_emnist_is_read_upright(prepared):
  builder = tfds.builder("tiny_pictures", data_dir=prepared, file_format="array_record")
  stored, upright = tfds_source.TfdsSource("tiny_pictures", builder), tfds_source.TfdsSource("emnist/letters", builder)
  rows = np.arange(5)
  assert (upright.read("test", rows)["image"] == stored.read("test", rows)["image"].swapaxes(1, 2)).all()
  assert (stored.native_shape, upright.native_shape) == ((8, 6, 3), (6, 8, 3))
  assert stored.notes == () and "its images are read upright" in upright.notes[0]


def test_damaged_files_are_an_error(prepared, tmp_path):
  shutil.copytree(prepared / "tiny_pictures", tmp_path / "tiny_pictures")
  description = next(tmp_path.glob("**/dataset_info.json"))
  info = json.loads(description.read_text())
  next(split for split in info["splits"] if split["name"] == "train")["shardLengths"] = ["21"]
  description.write_text(json.dumps(info))
  with pytest.raises(ConfigError, match='split "train" is damaged .index 20 out of bound 20.; prepare it again'):
    open_dataset(config(tmp_path, train_split="train")).train.arrays()
  shutil.copytree(prepared / "tiny_pictures", tmp_path / "other" / "tiny_pictures")
  records = next(tmp_path.glob("other/**/*-test.array_record*"))
  records.write_bytes(records.read_bytes()[:-100])
  with pytest.raises(ConfigError, match='split "test" is damaged'):
    open_dataset(config(tmp_path / "other")).test.arrays()


def test_a_source_that_is_shorter_than_its_description_is_an_error(prepared, monkeypatch):
  monkeypatch.setattr(
    "tensorflow_datasets.core.dataset_builder.DatasetBuilder.as_data_source", lambda self, split: range(3)
  )
  with pytest.raises(ConfigError, match="holds 3 examples where dataset_info.json says 20"):
    open_dataset(config(prepared)).train.arrays()


@pytest.mark.parametrize(("kind", "download"), [("tfrecord", False), ("parquet", True), ("", False)])
def test_a_set_in_another_format_is_an_error_with_a_way_out(prepared, tmp_path, kind, download):
  shutil.copytree(prepared / "tiny_pictures", tmp_path / "tiny_pictures")
  description = next(tmp_path.glob("**/dataset_info.json"))
  description.write_text(json.dumps({**json.loads(description.read_text()), "fileFormat": kind}))
  found = rf"does not read what lies in {tmp_path} as array_record \(.*\['{kind}'\]\); prepare it in another"
  with pytest.raises(ConfigError, match=found):
    open_dataset(config(tmp_path, download=download))


@pytest.mark.parametrize(
  ("tensorflow", "said"), [(None, r"pip install -e .\[tfds-prepare\]"), (True, "no way to www.cs.toronto.edu")]
)
def test_download_without_tensorflow_or_a_network_fails_at_once(tensorflow, said, tmp_path, monkeypatch):
  def no_network(*_):
    raise socket.gaierror("no name")

  found = importlib.util.find_spec
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: tensorflow if name == "tensorflow" else found(name))
  monkeypatch.setattr(socket, "getaddrinfo", no_network)
  with pytest.raises(ConfigError, match=said):
    open_dataset(config(tmp_path, name="cifar10", download=True))


def test_unknown_names_are_missing_sets(tmp_path):
  for name in ("no_such_set", "fashion-mnist"):
    assert tfds_source.find(name, str(tmp_path), download=True) is None
