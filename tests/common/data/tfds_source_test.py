import importlib.util
import json
import shutil
import socket

import numpy as np
import pytest
from PIL import Image

from common.build import ConfigError
from common.data import tfds_source
from common.data.dataset import open_dataset
from tests.common.data.settings import data_config

tfds = pytest.importorskip("tensorflow_datasets", reason="the extra [tfds] is not installed")

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
  data = open_dataset(config(prepared, image_size=4, resize="bilinear", channels=1))
  rows = data.train.rows(np.array([9, 2]))
  assert data.train._arrays is None and rows["image"].shape == (2, 4, 4, 1)
  assert (rows["image"] == data.train.arrays()["image"][[9, 2]]).all()
  assert open_dataset(config(prepared)).spec.fingerprint != data.spec.fingerprint


def test_damaged_files_are_an_error(prepared, tmp_path):
  shutil.copytree(prepared / "tiny_pictures", tmp_path / "tiny_pictures")
  description = next(tmp_path.glob("**/dataset_info.json"))
  info = json.loads(description.read_text())
  next(split for split in info["splits"] if split["name"] == "train")["shardLengths"] = ["21"]
  description.write_text(json.dumps(info))
  with pytest.raises(ConfigError, match='split "train" is damaged .index 20 out of bound 20.; prepare it again'):
    open_dataset(config(tmp_path, train_split="train")).train.arrays()
  records = next(tmp_path.glob("**/*-test.array_record*"))
  records.write_bytes(records.read_bytes()[:-100])
  with pytest.raises(ConfigError, match='split "test" is damaged'):
    open_dataset(config(tmp_path)).test.arrays()


def test_a_source_that_is_shorter_than_its_description_is_an_error(prepared, monkeypatch):
  monkeypatch.setattr(
    "tensorflow_datasets.core.dataset_builder.DatasetBuilder.as_data_source", lambda self, split: range(3)
  )
  with pytest.raises(ConfigError, match="holds 3 examples where dataset_info.json says 20"):
    open_dataset(config(prepared)).train.arrays()


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize("kind", ["tfrecord", "parquet", ""])
def test_a_set_in_another_format_is_an_error_with_a_way_out(prepared, tmp_path, kind, download):
  shutil.copytree(prepared / "tiny_pictures", tmp_path / "tiny_pictures")
  description = next(tmp_path.glob("**/dataset_info.json"))
  description.write_text(json.dumps({**json.loads(description.read_text()), "fileFormat": kind}))
  found = rf"does not read what lies in {tmp_path} as array_record \(.*\['{kind}'\]\); prepare it in another"
  with pytest.raises(ConfigError, match=found):
    open_dataset(config(tmp_path, download=download))


def test_download_without_tensorflow_says_so_at_once(tmp_path, monkeypatch):
  found = importlib.util.find_spec
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorflow" else found(name))
  with pytest.raises(ConfigError, match=r"pip install -e .\[tfds-prepare\]"):
    open_dataset(config(tmp_path, name="cifar10", download=True))


def test_download_without_a_network_fails_at_once(tmp_path, monkeypatch):
  def no_network(*_):
    raise socket.gaierror("no name")

  found = importlib.util.find_spec
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: True if name == "tensorflow" else found(name))
  monkeypatch.setattr(socket, "getaddrinfo", no_network)
  with pytest.raises(ConfigError, match="no way to www.cs.toronto.edu"):
    open_dataset(config(tmp_path, name="cifar10", download=True))


def test_unknown_names_are_missing_sets(tmp_path):
  for name in ("no_such_set", "fashion-mnist"):
    assert tfds_source.find(name, str(tmp_path), download=True) is None
