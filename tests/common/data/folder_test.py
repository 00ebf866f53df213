"""A user's own pictures as a data set: sizes, splits, labels, and what is said of damaged files."""

import json

import numpy as np
import pytest
from PIL import Image

from common.data import memory, picture_arrays, picture_folder
from common.data.dataset import open_dataset
from common.data.folder import folder
from common.data.picture_labels import HELD_OUT
from common.data.resize import fit
from common.errors import ConfigError
from tests.common.data.settings import data_config

RNG = np.random.RandomState(0)


def save(path, height=6, width=5, channels=3):
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = RNG.randint(0, 256, (height, width, channels), np.uint8)
  Image.fromarray(pixels.squeeze()).save(path)
  return pixels


def settings(place, **changes):
  shape = {"image_size": 0, "channels": 0, "resize": "crop"} | changes
  return data_config(name="folder", dir=str(place), validation_split="validation", **shape)


def names_of(source, originals):
  """The names of the pictures of each split, by their pixels."""
  name_of = {pixels.tobytes(): name for name, pixels in originals.items()}
  return {
    split: [name_of[image.tobytes()] for image in source.read(split, np.arange(size))["image"]]
    for split, size in source.sizes.items()
  }


def test_every_picture_is_in_one_split_and_stays_there_when_others_come(tmp_path):
  originals = {f"{i}.png": save(tmp_path / f"{i}.png") for i in range(60)}
  first = names_of(folder(settings(tmp_path)), originals)
  assert sorted(first["all"]) == sorted(originals)
  assert sorted(first["train"] + first["validation"] + first["test"]) == sorted(originals)
  assert all(1 <= len(first[split]) <= 3 * 60 / HELD_OUT for split in ("validation", "test"))
  originals |= {f"more{i}.png": save(tmp_path / f"more{i}.png") for i in range(20)}
  second = names_of(folder(settings(tmp_path)), originals)
  assert all(set(first[split]) <= set(second[split]) for split in first)


def test_folders_named_as_splits_are_the_splits_and_a_missing_one_is_taken_from_train(tmp_path):
  originals = {f"train/{i}.png": save(tmp_path / f"train/{i}.png") for i in range(21)}
  originals |= {f"Test/{i}.png": save(tmp_path / f"Test/{i}.png") for i in range(3)}
  names = names_of(folder(settings(tmp_path)), originals)
  assert {split: len(part) for split, part in names.items()} == {"train": 20, "validation": 1, "test": 3, "all": 24}
  assert all(name.startswith("Test/") for name in names["test"])
  save(tmp_path / "else" / "x.png")  # now they are classes
  assert folder(settings(tmp_path)).class_names == ("Test", "else", "train")


def test_class_folders_are_the_labels(tmp_path):
  pixels = {name: [save(tmp_path / name / f"{i}.png") for i in range(4)] for name in ("dog", "cat", "a bird")}
  dataset = open_dataset(settings(tmp_path))
  assert dataset.spec.class_names == ("a bird", "cat", "dog") and dataset.spec.num_classes == 3
  for split in (dataset.train, dataset.validation, dataset.test):
    for image, label in zip(*split.arrays().values(), strict=True):
      assert any(np.array_equal(image, own) for own in pixels[dataset.spec.class_names[label]])
  assert "3 classes: a bird, cat, dog" in dataset.notes[1]
  save(tmp_path / "loose.png")
  assert folder(settings(tmp_path)).num_classes == 0


@pytest.mark.parametrize(
  ("table", "content"),
  [
    ("metadata.csv", "file_name,label\n" + "".join(f"{i}.png,{'odd' if i % 2 else 'even'}\n" for i in range(6))),
    ("metadata.jsonl", "\n".join(json.dumps({"file_name": f"{i}.png", "label": i % 2}) for i in range(6))),
    ("dataset.json", json.dumps({"labels": [[f"{i}.png", i % 2] for i in range(6)]})),
  ],
)
def test_tables_give_labels(tmp_path, table, content):
  originals = {f"{i}.png": save(tmp_path / f"{i}.png") for i in range(6)}
  (tmp_path / table).write_text(content)
  source = folder(settings(tmp_path))
  assert source.class_names == (("even", "odd") if table == "metadata.csv" else ("0", "1"))
  for split, names in names_of(source, originals).items():
    assert source.labels(split).tolist() == [int(name[0]) % 2 for name in names]


def test_captions_lie_beside_pictures_or_in_a_table(tmp_path):
  originals = {f"{i}.png": save(tmp_path / f"{i}.png") for i in range(7)}
  assert folder(settings(tmp_path)).captions("train") is None
  rows = [{"file_name": f"{i}.png", "text": f"row {i}"} for i in range(6)]
  (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
  (tmp_path / "3.txt").write_text("\ufeffthe third,\nin two lines\n")
  source = folder(settings(tmp_path))
  expected = {f"{i}.png": f"row {i}" for i in range(6)} | {"3.png": "the third,\nin two lines", "6.png": ""}
  for split, names in names_of(source, originals).items():
    assert source.captions(split).tolist() == [expected[name] for name in names]
    assert source.read(split, np.arange(len(names)))["text"].tolist() == [expected[name] for name in names]
  assert "no labels; 6 captions" in source.notes[1]


def test_numbers_of_classes_stay_and_years_are_names(tmp_path):
  for year in ("1999", "2024"):
    for i in range(3):
      save(tmp_path / "years" / year / f"{i}.png")
      save(tmp_path / "numbers" / {"1999": "2", "2024": "10"}[year] / f"{i}.png")
  for number in range(10):
    save(tmp_path / "numbers" / str(number) / "more.png")
  assert folder(settings(tmp_path / "years")).class_names == ("1999", "2024")
  assert folder(settings(tmp_path / "numbers")).class_names == tuple(map(str, range(11)))


@pytest.mark.parametrize("resize", ["crop", "stretch"])
def test_pictures_of_any_size_come_at_the_size_of_the_config(tmp_path, resize):
  originals = [save(tmp_path / f"{i}.png", 20 + i, 12, 1) for i in range(5)]
  source = folder(settings(tmp_path, image_size=8, channels=1, resize=resize))
  assert source.native_shape == (None, None, 1)
  images = np.concatenate([source.read(split, np.arange(size))["image"] for split, size in source.sizes.items()])
  expected = {fit(image[None], (8, 8, 1), resize).tobytes() for image in originals}
  assert {image.tobytes() for image in images} == expected
  with pytest.raises(ConfigError, match="image_size=0: the images differ in size; set one"):
    folder(settings(tmp_path))


def test_damaged_files_are_left_out_and_named(tmp_path):
  for i in range(25):
    save(tmp_path / f"{i}.png")
  for i in range(12):
    (tmp_path / f"bad{i:02d}.jpg").write_bytes(b"\xff\xd8\xff" if i else b"")
  dataset = open_dataset(settings(tmp_path))
  assert len(dataset.train) + len(dataset.validation) + len(dataset.test) == 25
  (damage,) = [note for note in dataset.notes if note.startswith("left out")]
  assert damage.startswith("left out: 12 pictures cannot be read: bad00.jpg (") and damage.endswith("; and 2 more")


def test_arrays_are_pictures_too(tmp_path, monkeypatch):
  images, labels = RNG.randint(0, 256, (40, 6, 6, 3), np.uint8), np.arange(40) % 3
  np.savez(tmp_path / "set.npz", images=images, labels=labels)
  np.save(tmp_path / "set.npy", images)
  labelled, plain = (open_dataset(settings(tmp_path / name, image_size=4)) for name in ("set.npz", "set.npy"))
  assert labelled.spec.image_shape == plain.spec.image_shape == (4, 4, 3)
  assert labelled.spec.class_names == ("0", "1", "2") and plain.spec.num_classes == 0
  np.testing.assert_array_equal(labelled.train.arrays()["image"], plain.train.arrays()["image"])
  monkeypatch.setattr(picture_arrays, "_LARGE", 0)
  large = open_dataset(settings(tmp_path / "set.npz", image_size=4))
  assert plain.source.in_memory and not large.source.in_memory
  for split in ("train", "validation", "test"):
    rows = RNG.permutation(len(getattr(large, split)))
    for name, values in getattr(labelled, split).arrays().items():
      np.testing.assert_array_equal(getattr(large, split).rows(rows)[name], values[rows])


def test_what_is_no_set_of_pictures_is_refused(tmp_path):
  save(tmp_path / "two" / "1.png")
  save(tmp_path / "two" / "2.png")
  (tmp_path / "a.txt").write_text("none")
  (tmp_path / "table").mkdir()
  (tmp_path / "arrays").mkdir()
  np.save(tmp_path / "arrays" / "images.npy", np.zeros((5, 4, 4), np.uint8))
  save(tmp_path / "table" / "1.png")
  (tmp_path / "table" / "metadata.csv").write_text("name\n1.png\n")
  for place, said in {
    "": "needs --config.data.dir",
    "missing": "does not exist",
    "a.txt": "is no folder, and no file that ends in",
    "two": "has 2 pictures, too few for",
    "arrays": 'has no pictures .*; name the .npy itself, or a .npz with "images" and "labels"',
    "table": "metadata.csv lacks 'file_name'",
  }.items():
    with pytest.raises(ConfigError, match=said):
      folder(settings(tmp_path / place if place else ""))


def test_sizes_that_differ_are_refused_before_all_pictures_are_read(tmp_path, monkeypatch):
  for i in range(200):
    save(tmp_path / f"{i:03d}.png", width=5 + (i == 3))
  read, picture = [], picture_folder.read_picture
  monkeypatch.setattr(picture_folder, "read_picture", lambda *args: read.append(args[1]) or picture(*args))
  monkeypatch.setattr(picture_folder.os, "cpu_count", lambda: 2)
  with pytest.raises(ConfigError, match="the images differ in size"):
    folder(settings(tmp_path))
  assert len(read) < 200


@pytest.mark.parametrize("image_size", [0, 1024])
def test_what_does_not_fit_into_memory_is_refused(tmp_path, monkeypatch, image_size):
  for i in range(7):
    Image.new("RGB", (1024, 1024)).save(tmp_path / f"{i}.png")
  folder(settings(tmp_path, image_size=image_size))
  monkeypatch.setattr(memory, "available", lambda: 30 * 2**20)
  if image_size:  # the number of files and the size say enough, and none is read
    monkeypatch.setattr(picture_folder, "read_picture", None)
  with pytest.raises(ConfigError, match=r"needs \d\d MB of memory, and 30 MB are free; decode them once, python -m"):
    folder(settings(tmp_path, image_size=image_size))
