import re

import numpy as np
import pytest

from common.data.cifar import FILES, FOLDER
from common.data.dataset import open_dataset
from common.errors import ConfigError
from tests.common.data.settings import data_config

IMAGES = np.random.RandomState(0).randint(0, 256, (24, 32, 32, 3), np.uint8)
LABELS = np.arange(24) % 10


def write(directory):
  directory.mkdir(parents=True, exist_ok=True)
  for number, name in enumerate([*FILES["train"], *FILES["test"]]):
    rows = slice(4 * number, 4 * number + 4)
    planes = IMAGES[rows].transpose(0, 3, 1, 2).reshape(4, -1)  # red, then green, then blue
    (directory / name).write_bytes(np.c_[LABELS[rows, None].astype(np.uint8), planes].tobytes())
  return directory


def config(directory, **changes):
  settings = {"name": "cifar10", "dir": str(directory), "train_split": "train[:15]", "validation_split": "train[15:]"}
  return data_config(**settings | changes)


@pytest.mark.parametrize("inner", ["", FOLDER, "cifar10", f"cifar10/{FOLDER}"])
def test_the_binary_version_is_read_from_its_folder_or_that_above(tmp_path, inner):
  write(tmp_path / inner)
  data = open_dataset(config(tmp_path))
  for split, rows in ((data.train, slice(15)), (data.validation, slice(15, 20)), (data.test, slice(20, 24))):
    assert (split.arrays()["image"] == IMAGES[rows]).all() and (split.arrays()["label"] == LABELS[rows]).all()
  assert (data.spec.image_shape, data.spec.num_classes, data.spec.classes) == ((32, 32, 3), 10, ())


@pytest.mark.parametrize(
  ("name", "keep", "message"),
  [
    ("data_batch_3.bin", -1, "data_batch_3.bin is truncated: it has 12,291 bytes, which is not a multiple of 3,073"),
    ("data_batch_3.bin", -3073, "the same number of images .*data_batch_3.bin 3,"),
    ("test_batch.bin", None, "test_batch.bin is missing, and other files of CIFAR-10 are there"),
  ],
)
def test_damage_is_an_error_that_names_the_file(tmp_path, name, keep, message):
  path = write(tmp_path) / name
  stored = path.read_bytes()
  path.unlink()
  if keep:
    path.write_bytes(stored[:keep])
  with pytest.raises(ConfigError, match=message):
    open_dataset(config(tmp_path))


def test_a_label_that_cifar_10_has_not_is_an_error(tmp_path):
  path = write(tmp_path) / "test_batch.bin"
  path.write_bytes(b"\x0a" + path.read_bytes()[1:])
  with pytest.raises(ConfigError, match="a label is 10 and not in 0 .. 9"):
    open_dataset(config(tmp_path)).test.arrays()


@pytest.mark.parametrize(
  ("there", "message"),
  [
    (["cifar-10-python.tar.gz"], "has cifar-10-python.tar.gz, the pickled version, which is not read"),
    (["cifar-10-batches-py/data_batch_1"], "has cifar-10-batches-py, the pickled version"),
    (["cifar-10-binary.tar.gz"], "has cifar-10-binary.tar.gz: unpack it there"),
    (["mnist/train-images-idx3-ubyte"], "has mnist"),  # of another set
    (["notes.txt", "b", "c", "d", "e", "f", "g"], "has b, c, d, e, f and 2 more"),
    ([], "is empty"),
  ],
)
def test_what_is_not_found_is_told_with_what_is_there(tmp_path, there, message):
  for name in there:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
  with pytest.raises(ConfigError, match=re.escape(f"{tmp_path} {message}")) as error:
    open_dataset(config(tmp_path))
  assert "binary version of www.cs.toronto.edu/~kriz/cifar.html" in str(error.value)
  with pytest.raises(ConfigError, match="nowhere does not exist"):
    open_dataset(config(tmp_path / "nowhere"))


def test_the_directory_that_the_error_names_is_read(tmp_path):
  write(tmp_path / "downloads" / "images")
  with pytest.raises(ConfigError, match="is there: name its directory") as error:
    open_dataset(config(tmp_path))
  advised = re.search(r"--config.data.dir=(\S+)\n", str(error.value))[1]
  assert open_dataset(config(advised)).spec.num_examples == 15
