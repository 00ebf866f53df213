"""A prepared set holds what its folder holds; a stopped preparation goes on; damage and other work are refused."""

import dataclasses
import hashlib
import json
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from common import files
from common.data import picture_folder
from common.data import prepare as module
from common.data.catalogue import open_source
from common.data.dataset import open_dataset
from common.data.prepare import prepare_files as prepare
from common.data.prepare import prepare_set
from common.errors import ConfigError
from tests.common.data import cifar_test
from tests.common.data.settings import data_config

RNG = np.random.RandomState(0)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
  monkeypatch.setattr(module, "CHUNK", 16)


@contextmanager
def interrupted_at_write(number):
  """Ctrl-C comes when file ``number``, counted from 0, is about to be written."""
  write, left = files.write, iter(range(number))

  def stopping(path, content):
    if next(left, None) is None:
      raise KeyboardInterrupt
    write(path, content)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(files, "write", stopping)
    yield


@pytest.fixture
def pictures(tmp_path):
  """Seventy pictures of two classes and several sizes, some with captions, and three damaged files."""
  root = tmp_path / "pictures"
  for i in range(70):
    path = root / ("cat", "dog")[i % 2] / f"{i:02d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.randint(0, 256, (20 + i % 3, 24, 3), np.uint8)).save(path)
    if i % 10 == 0:
      path.with_suffix(".txt").write_text(f"a picture of number {i}\n", encoding="utf-8")
  for name, content in {"bad1.jpg": b"\xff\xd8", "bad2.png": b"", "bad3.webp": b"RIFF"}.items():
    (root / "cat" / name).write_bytes(content)
  (root / "notes.md").write_text("none")
  return root


def opened(place, size=16):
  return open_dataset(data_config(name="folder", dir=str(place), image_size=size, channels=3, resize="crop"))


def test_a_prepared_set_is_its_folder(pictures, tmp_path):
  manifest = prepare(pictures, tmp_path / "out", (16, 16, 3), "crop")
  ours, plain = opened(tmp_path / "out"), opened(pictures)
  assert ours.source.sizes == plain.source.sizes and ours.source.class_names == ("cat", "dog")
  assert not ours.source.in_memory and len(manifest["shards"]) == 5
  for split in ("train", "validation", "test"):
    one, other = getattr(ours, split).arrays(), getattr(plain, split).arrays()
    np.testing.assert_array_equal(one["image"], other["image"])
    np.testing.assert_array_equal(one["label"], other["label"])
    chosen = RNG.permutation(len(one["label"]))[:7]
    np.testing.assert_array_equal(ours.source.read(split, chosen)["image"], one["image"][chosen])
  assert manifest["damaged"] == 3 and manifest["captions"] == 7 and manifest["class_counts"] == [35, 35]
  damaged = (tmp_path / "out" / "damaged.csv").read_text().splitlines()
  assert damaged[0] == "file,reason" and [line.partition(",")[0] for line in damaged[1:]] == [
    "cat/bad1.jpg", "cat/bad2.png", "cat/bad3.webp",
  ]  # fmt: skip
  rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
  assert {row["file"]: row["text"] for row in rows if "text" in row}["cat/10.png"] == "a picture of number 10"
  pixels = np.concatenate([getattr(plain, split).arrays()["image"] for split in ("train", "validation", "test")])
  np.testing.assert_allclose(manifest["mean"], pixels.mean(axis=(0, 1, 2)))
  np.testing.assert_allclose(manifest["std"], pixels.std(axis=(0, 1, 2)))
  for file in manifest["shards"] + manifest["files"]:
    content = (tmp_path / "out" / file["file"]).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
  with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
    assert sheet.size[0] == 8 * 36


@pytest.mark.parametrize("writes", range(2, 14, 3))
def test_a_stopped_preparation_goes_on_and_ends_with_the_same_files(pictures, tmp_path, writes):
  whole = prepare(pictures, tmp_path / "whole", (16, 16, 3), "crop")
  with interrupted_at_write(writes), pytest.raises(KeyboardInterrupt):
    prepare(pictures, tmp_path / "out", (16, 16, 3), "crop")
  before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("chunk-*")}
  assert len(before) == (writes - 1) // 2
  again = prepare(pictures, tmp_path / "out", (16, 16, 3), "crop")
  assert {**again, "name": "whole"} == whole
  for file in whole["shards"] + whole["files"]:
    assert (tmp_path / "out" / file["file"]).read_bytes() == (tmp_path / "whole" / file["file"]).read_bytes()
  assert before.items() <= {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("chunk-*")}.items()


def test_an_archive_is_prepared_as_its_folder(pictures, tmp_path):
  with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
    for file in pictures.rglob("*"):
      archive.write(file, file.relative_to(pictures))
  one = prepare(pictures, tmp_path / "one", (16, 16, 3), "crop")
  other = prepare(tmp_path / "set.zip", tmp_path / "other", (16, 16, 3), "crop")
  assert one["shards"] == other["shards"] and one["files"] == other["files"]


def test_other_work_and_damage_are_refused(pictures, tmp_path):
  out = tmp_path / "out"
  prepare(pictures, out, (16, 16, 3), "crop")
  with pytest.raises(ConfigError, match=r"something else \(shape \[16, 16, 3\] -> \[8, 8, 3\]\)"):
    prepare(pictures, out, (8, 8, 3), "crop")
  Image.new("RGB", (9, 9)).save(pictures / "new.png")
  with pytest.raises(ConfigError, match="something else .files 81 -> 82.;"):
    prepare(pictures, out, (16, 16, 3), "crop")
  with pytest.raises(ConfigError, match="is not empty and holds no preparation"):
    prepare(pictures, pictures, (16, 16, 3), "crop")
  shard = out / "images-00001.npy"
  content, in_use = shard.read_bytes(), opened(out)
  shard.write_bytes(content[:-1])
  with pytest.raises(ConfigError, match=r"images-00001.npy has .* bytes and not .*: copy the set again"):
    opened(out)
  shard.unlink()
  with pytest.raises(ConfigError, match=r"images-00001.npy is missing"):
    opened(out)
  with pytest.raises(ConfigError, match=r"images-00001.npy cannot be read: No such file"):
    in_use.train.arrays()
  (tmp_path / "empty").mkdir()
  with pytest.raises(ConfigError, match="has no pictures; name a place"):
    prepare(tmp_path / "empty", tmp_path / "of_empty", (16, 16, 3), "crop")


CUTS = {"train_split": "train[:-5]", "validation_split": "train[-5:]"}


@pytest.mark.parametrize(
  ("changes", "shape"),
  [
    ({"name": "emoji_people"}, (32, 32, 3)),
    ({"name": "emoji_people", "image_size": 36, "channels": 1}, (36, 36, 1)),
    ({"name": "digits", **CUTS}, (8, 8, 1)),
    ({"name": "cifar10", **CUTS}, (32, 32, 3)),
  ],
)
def test_a_prepared_set_trains_as_the_set_itself(tmp_path, changes, shape):
  if changes["name"] == "cifar10":
    changes = changes | {"dir": str(cifar_test.write(tmp_path / "files"))}
  data = data_config(**changes)
  source = open_source(data)
  manifest = prepare_set(source, tmp_path / "out", shape, data.resize)
  whole, ours = open_dataset(data), open_dataset(data_config(**changes | {"dir": str(tmp_path / "out")}))
  assert not ours.source.in_memory
  for split in ("train", "validation", "test"):
    one, other = getattr(ours, split).arrays(), getattr(whole, split).arrays()
    np.testing.assert_array_equal(one["image"], other["image"])
    np.testing.assert_array_equal(one["label"], other["label"])
  same = {"fingerprint": "", "num_examples": 0}
  assert dataclasses.replace(ours.spec, **same) == dataclasses.replace(whole.spec, **same)
  assert manifest["source"] == changes["name"] and manifest["num_classes"] == source.num_classes
  with pytest.raises(ConfigError, match=rf'holds a prepared "{data.name}"; set --config.data.name={data.name}'):
    open_source(data_config(name="mnist", dir=str(tmp_path / "out")))


def test_a_stopped_preparation_of_a_set_goes_on(tmp_path, monkeypatch):
  source = open_source(data_config())
  whole = prepare_set(source, tmp_path / "whole", (8, 8, 1), "pad")
  with interrupted_at_write(20), pytest.raises(KeyboardInterrupt):
    prepare_set(source, tmp_path / "out", (8, 8, 1), "pad")
  before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("chunk-*")}
  said, times = [], iter(range(0, 10**6, 10))
  monkeypatch.setattr(picture_folder.time, "monotonic", lambda: next(times))
  assert {**prepare_set(source, tmp_path / "out", (8, 8, 1), "pad", said.append), "name": "whole"} == whole
  after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("chunk-*")}
  assert before and before.items() <= after.items()
  assert said[0].startswith("16 of 1,797 files: 16 pictures") and len(said) == len(whole["shards"])
  with pytest.raises(ConfigError, match=r"something else \(source digits -> emoji_people"):
    prepare_set(open_source(data_config(name="emoji_people")), tmp_path / "out", (8, 8, 1), "crop")
  with pytest.raises(ConfigError, match='"gaussians8" has points, and only pictures are prepared'):
    prepare_set(open_source(data_config(name="gaussians8")), tmp_path / "points", (8, 8, 1), "pad")
