import gzip
import hashlib
import pathlib
import struct

import numpy as np
import pytest

from common.data import idx
from common.data.dataset import open_dataset
from common.errors import ConfigError
from tests.common.data.settings import data_config

DEBIAN = pathlib.Path("/usr/share/datasets/fashion-mnist")
IMAGES = np.random.RandomState(0).randint(0, 256, (30, 6, 5), np.uint8)
LABELS = (np.arange(30) % 10).astype(np.uint8)


def encode(array: np.ndarray) -> bytes:
  return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(directory: pathlib.Path, suffix: str = "", labels: np.ndarray = LABELS, images: np.ndarray = IMAGES) -> None:
  directory.mkdir(exist_ok=True)
  pack = gzip.compress if suffix else bytes
  for prefix, rows in (("train", slice(20)), ("t10k", slice(20, 30))):
    (directory / f"{prefix}-images-idx3-ubyte{suffix}").write_bytes(pack(encode(images[rows])))
    (directory / f"{prefix}-labels-idx1-ubyte{suffix}").write_bytes(pack(encode(labels[rows])))


def config(directory: pathlib.Path, **changes):
  settings = {"name": "mnist", "dir": str(directory), "train_split": "train[:15]", "validation_split": "train[15:]"}
  return data_config(**settings | changes)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("folder", ["", "mnist"])
def test_reads_plain_and_gzipped_files(tmp_path, suffix, folder):
  write(tmp_path / folder, suffix)
  data = open_dataset(config(tmp_path))
  for split, rows in ((data.train, slice(15)), (data.validation, slice(15, 20)), (data.test, slice(20, 30))):
    assert (split.arrays()["image"] == IMAGES[rows, ..., None]).all()
    assert (split.arrays()["label"] == LABELS[rows]).all()
  assert (data.spec.image_shape, data.spec.num_classes, data.spec.num_examples) == ((6, 5, 1), 10, 15)
  assert data.spec.classes == () and data.spec.labels == tuple(range(10)) and data.notes == []


@pytest.mark.parametrize("renamed", ["{kaggle}", "{name}/{name}", "{name}/{kaggle}", "{name}.gz"])
def test_reads_files_under_the_names_that_unpackers_give_them(tmp_path, renamed):
  write(tmp_path / "written")
  for file in (tmp_path / "written").iterdir():
    target = tmp_path / renamed.format(name=file.name, kaggle=file.name.replace("-idx", ".idx"))
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(file.read_bytes())
  assert (open_dataset(config(tmp_path)).test.arrays()["image"] == IMAGES[20:, ..., None]).all()


def test_bytes_of_0_and_1_are_black_and_white(tmp_path):
  write(tmp_path, ".gz", images=IMAGES % 2)
  data = open_dataset(config(tmp_path, binarize="dynamic"))
  assert (data.train.arrays()["image"] == 255 * (IMAGES[:15, ..., None] % 2)).all()
  assert set(np.unique(data.test.arrays()["image"])) == {0, 255}
  assert data.notes == ["pixels are stored as 0 and 1; they are read as 0 and 255"]
  write(tmp_path / "of 16", images=IMAGES // 16)
  assert "no pixel of the first images is above 15 of 255" in open_dataset(config(tmp_path / "of 16")).notes[0]


def test_a_set_that_begins_with_0_and_1_only_and_goes_on_otherwise_is_an_error(tmp_path, monkeypatch):
  monkeypatch.setattr(idx, "_GLIMPSE", 5)
  write(tmp_path, images=np.r_[IMAGES[:25] % 2, IMAGES[25:]])
  with pytest.raises(ConfigError, match="begins with images of 0 and 1 only, and a later one has the value 25"):
    open_dataset(config(tmp_path)).test.arrays()


@pytest.mark.parametrize("binary", ["train", "t10k"])
def test_splits_that_differ_in_what_is_white_are_an_error(tmp_path, binary):
  write(tmp_path, images=np.where((np.arange(30) < 20)[:, None, None] == (binary == "train"), IMAGES % 2, IMAGES))
  with pytest.raises(ConfigError, match=rf"{binary}-images-idx3-ubyte begins with pixels of 0 and 1 only, and .* does"):
    open_dataset(config(tmp_path))


@pytest.mark.parametrize(
  ("labels", "occur"), [(1 + LABELS, range(1, 11)), (np.array([0, 3, 9])[LABELS % 3], (0, 3, 9))]
)
def test_classes_are_those_that_occur(tmp_path, labels, occur):
  write(tmp_path, labels=labels.astype(np.uint8))
  data = open_dataset(config(tmp_path, name="letters"))
  assert data.spec.labels == data.spec.classes == tuple(occur)
  assert (data.train.arrays()["label"] == labels[:15]).all()  # by the names that the set gives them
  assert f"has {', '.join(map(str, occur))} only; no others are sampled" in data.notes[0]
  assert "these are read as stored" in open_dataset(config(tmp_path, name="emnist")).notes[0]  # they lie on their side
  few = open_dataset(config(tmp_path, name="letters", train_split="train[:2]"))
  assert few.spec.labels == tuple(sorted(labels[:2]))  # what is trained on counts, not what the file has


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("keep", [3, 10, -20])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path, suffix, keep):
  write(tmp_path, suffix)
  path = tmp_path / f"train-images-idx3-ubyte{suffix}"
  path.write_bytes(path.read_bytes()[:keep])
  with pytest.raises(ConfigError, match="truncated or corrupt|not an IDX file") as error:
    open_dataset(config(tmp_path)).train.arrays()
  assert str(path) in str(error.value)
  write(tmp_path / "other", ".gz")
  path = tmp_path / "other" / "t10k-images-idx3-ubyte.gz"
  stored = path.read_bytes()
  path.write_bytes(stored[:60] + bytes(20) + stored[80:])
  with pytest.raises(ConfigError, match="truncated or corrupt"):
    open_dataset(config(tmp_path / "other")).test.arrays()


def test_labels_must_be_in_range(tmp_path):
  write(tmp_path, labels=np.where(LABELS == 9, 77, LABELS).astype(np.uint8))
  with pytest.raises(ConfigError, match="label 77 is out of range 0 .. 9"):
    open_dataset(config(tmp_path)).train.arrays()
  with pytest.raises(ConfigError, match="label 5 is out of range"):
    write(tmp_path, labels=np.r_[np.zeros(20), np.full(10, 5)].astype(np.uint8))
    open_dataset(config(tmp_path, name="letters")).test.arrays()  # an unknown set has the training labels' classes


def test_labels_must_match_the_images(tmp_path):
  write(tmp_path)
  (tmp_path / "train-labels-idx1-ubyte").write_bytes(encode(LABELS[:19]))
  with pytest.raises(ConfigError, match="20 images.*19 labels"):
    open_dataset(config(tmp_path))
  (tmp_path / "train-labels-idx1-ubyte").unlink()
  with pytest.raises(ConfigError, match="no train-labels-idx1-ubyte"):
    open_dataset(config(tmp_path))


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Fashion-MNIST is absent: apt-get install dataset-fashion-mnist")
def test_fashion_mnist_of_debian_is_found_without_being_told():
  data = open_dataset(
    data_config(name="fashion_mnist", train_split="train[:50000]", validation_split="train[50000:]", image_size=32)
  )
  assert (len(data.train), len(data.validation), len(data.test)) == (50000, 10000, 10000)
  test = data.test.arrays()
  assert test["image"].shape == (10000, 32, 32, 1)
  assert np.bincount(test["label"]).tolist() == [1000] * 10
  assert abs(data.train.arrays()["image"][:, 2:30, 2:30].mean() / 255 - 0.286) < 0.002  # the published mean


def test_files_of_another_set_are_not_taken_for_the_one_that_is_named(tmp_path, monkeypatch):
  write(tmp_path)
  with pytest.raises(ConfigError, match=r'"cifar10" was not found'):
    open_dataset(config(tmp_path, name="cifar10"))
  labels = hashlib.sha256(LABELS[:20]).hexdigest()[:8]
  monkeypatch.setattr(idx, "_OF_LABELS", {labels: "fashion_mnist", "0": "mnist"})
  with pytest.raises(ConfigError, match=r"has the files of fashion_mnist; set --config\.data\.name=fashion_mnist"):
    open_dataset(config(tmp_path))
  assert all(len(open_dataset(config(tmp_path, name=name)).train) == 15 for name in ("fashion_mnist", "own"))
