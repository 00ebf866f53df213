"""Folders and archives of pictures: what is read, in which order, and what is left out and said."""

import io
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from common.data import picture_folder
from common.data.archive import Entry, list_files
from common.data.digits import digits
from common.data.picture_folder import Progress, decoded, read_pictures
from common.errors import ConfigError

RNG = np.random.RandomState(0)
GREY, COLOUR = RNG.randint(0, 256, (6, 5), np.uint8), RNG.randint(0, 256, (6, 5, 3), np.uint8)
L, RGB = Image.fromarray(GREY), Image.fromarray(COLOUR)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.bmp", "a.webp", "a.tif"])
def test_a_truncated_picture_is_named_with_the_reason(tmp_path, name):
  big = Image.fromarray(RNG.randint(0, 256, (64, 64, 3), np.uint8))
  big.save(tmp_path / "whole.bin", format=Image.registered_extensions()[name[1:]])
  (tmp_path / "pictures").mkdir()
  RGB.save(tmp_path / "pictures" / "good.png")
  (tmp_path / "pictures" / name).write_bytes((tmp_path / "whole.bin").read_bytes()[:-3000])
  pictures = read_pictures(tmp_path / "pictures")
  assert pictures.names == ["good.png"] and (pictures.pixels[0] == COLOUR).all()
  (damaged,) = pictures.damaged
  assert damaged.startswith(f"{name} (") and pictures.damage == f"1 picture cannot be read: {damaged}"


def test_what_is_no_picture_is_left_out_and_what_should_be_one_is_named(tmp_path):
  RGB.save(tmp_path / "a.png")
  (tmp_path / "labels.csv").write_text("a.png,1\n")
  (tmp_path / "README").write_text("pictures\n")
  pictures = read_pictures(tmp_path)
  report = pictures.report
  assert pictures.names == ["a.png"] and (pictures.pixels[0] == COLOUR).all()
  assert report.record() == {
    "formats": {"PNG": 1},
    "left_out": {"no picture (.csv)": 1, "no picture (no suffix)": 1},
  }
  assert str(report) == "1 PNG; left out: 1 no picture (.csv), 1 no picture (no suffix)"
  (tmp_path / "b.jpg").write_bytes(b"")
  (tmp_path / "c.HEIC").write_bytes(b"ftypheic")
  damaged = read_pictures(tmp_path).damaged
  assert damaged == ["b.jpg (its content is no picture's)", "c.HEIC (Pillow does not read .heic; use PNG)"]


def test_hidden_files_and_folders_are_left_out_and_counted(tmp_path):
  for name in ("a.png", "b/c.png", ".ipynb_checkpoints/a-checkpoint.png", "__MACOSX/b/._c.png", "._a.png"):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    RGB.save(tmp_path / name)
  for name in (".DS_Store", "Thumbs.db", "b/desktop.ini"):
    (tmp_path / name).write_bytes(b"\x00")
  files, left_out = list_files(tmp_path)
  assert files == [tmp_path / "a.png", tmp_path / "b" / "c.png"] and left_out == {"hidden": 6}


def test_links_are_followed_once_and_loops_end(tmp_path):
  (tmp_path / "real").mkdir()
  (tmp_path / "chosen").mkdir()
  RGB.save(tmp_path / "real" / "a.png")
  L.save(tmp_path / "real" / "b.png")
  (tmp_path / "chosen" / "1.png").symlink_to(tmp_path / "real" / "a.png")
  (tmp_path / "chosen" / "2.png").symlink_to(tmp_path / "real" / "a.png")
  (tmp_path / "chosen" / "up").symlink_to(tmp_path / "chosen")
  files, left_out = list_files(tmp_path / "chosen")
  assert files == [tmp_path / "chosen" / "1.png"] and left_out == {"reached twice by links": 2}
  (tmp_path / "chosen" / "all").symlink_to(tmp_path / "real")
  assert len(read_pictures(tmp_path / "chosen").names) == 2
  (tmp_path / "chosen" / "gone.png").symlink_to(tmp_path / "nowhere.png")
  assert read_pictures(tmp_path / "chosen").damaged == ["gone.png (No such file or directory)"]


def test_grey_among_colour_becomes_colour(tmp_path):
  RGB.save(tmp_path / "a.png")
  L.save(tmp_path / "b.png")
  pictures = read_pictures(tmp_path)
  pixels, report = pictures.pixels, pictures.report
  assert (pixels[1] == GREY[..., None]).all() and pixels[1].shape == (6, 5, 3)
  assert report.record()["changes"] == {"grey among colour, as RGB": 1}


def test_an_empty_folder_is_an_error_that_says_what_was_left_out(tmp_path):
  (tmp_path / "notes.txt").write_text("none")
  with pytest.raises(ConfigError, match=r"has no pictures \(left out: 1 no picture \(.txt\)\)"):
    read_pictures(tmp_path)


def test_digits_come_back_from_every_kind_of_file_that_can_hold_them(tmp_path):
  """As ink whose opacity is the grey level, turned, in WebP, with a notebook's copies beside them."""
  images = digits().read("test", np.arange(60))["image"]
  (tmp_path / ".ipynb_checkpoints").mkdir()
  turned = Image.Exif()
  turned[0x0112] = 6
  for i, image in enumerate(images[..., 0]):
    picture, path = Image.fromarray(image), tmp_path / f"{i:03d}"
    if i % 3 == 0:
      white = Image.new("L", picture.size, 255)
      Image.merge("LA", [white, picture]).save(path.with_suffix(".png"))
    elif i % 3 == 1:
      picture.transpose(Image.Transpose.ROTATE_90).save(path.with_suffix(".png"), exif=turned)
    else:
      picture.convert("RGB").save(path.with_suffix(".webp"), lossless=True)
    picture.save(tmp_path / ".ipynb_checkpoints" / f"{i:03d}-checkpoint.png")
  pictures = read_pictures(tmp_path, background=0)
  report = pictures.report
  assert (np.stack(pictures.pixels) == images).all()
  changes = {"grey among colour, as RGB": 40, "transparent, on black": 20, "turned by EXIF": 20}
  record = {"formats": {"PNG": 40, "WEBP": 20}, "lossy": {"WEBP": 20}, "changes": changes, "left_out": {"hidden": 60}}
  assert report.record() == record


@pytest.mark.parametrize("name", ["set.zip", "set.tar", "set.tar.gz"])
def test_an_archive_reads_as_the_folder_that_was_packed(tmp_path, name):
  place = tmp_path / "place"
  for path, picture in {"b/1.png": RGB, "a/2.png": L, "a/10.jpg": L, "a/._2.png": L, "__MACOSX/x.png": L}.items():
    (place / path).parent.mkdir(parents=True, exist_ok=True)
    picture.save(place / path)
  (place / "b" / "bad.png").write_bytes(b"no picture")
  (place / "metadata.csv").write_text("file_name,label\n")
  if name.endswith("zip"):
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
      for file in sorted(place.rglob("*"), reverse=True):
        archive.write(file, file.relative_to(place))
  else:
    with tarfile.open(tmp_path / name, "w:gz" if name.endswith("gz") else "w") as archive:
      archive.add(place, ".")
  packed, plain = (read_pictures(path, tables=("metadata.csv",)) for path in (tmp_path / name, place))
  assert packed.names == plain.names == ["a/10.jpg", "a/2.png", "b/1.png"]
  assert packed.tables == plain.tables == {"metadata.csv": b"file_name,label\n"}
  assert packed.damaged == plain.damaged == ["b/bad.png (its content is no picture's)"]
  assert packed.report.record() == plain.report.record()
  for ours, theirs in zip(packed.pixels, plain.pixels, strict=True):
    np.testing.assert_array_equal(ours, theirs)


def test_a_damaged_or_locked_archive_is_named(tmp_path):
  whole = io.BytesIO()
  with tarfile.open(fileobj=whole, mode="w:gz") as archive:
    RGB.resize((200, 200)).save(tmp_path / "a.png")
    archive.add(tmp_path / "a.png", "a.png")
  (tmp_path / "cut.tgz").write_bytes(whole.getvalue()[:-2000])
  (tmp_path / "no.zip").write_bytes(b"PK no zip")
  for name in ("cut.tgz", "no.zip"):
    with pytest.raises(ConfigError, match=f"{name} cannot be read: .*; pack it again"):
      read_pictures(tmp_path / name)
  with pytest.raises(ConfigError, match="nowhere does not exist; name a folder, an archive"):
    read_pictures(tmp_path / "nowhere")


def test_a_file_is_its_own_picture(tmp_path):
  RGB.save(tmp_path / "a.png")
  pictures = read_pictures(tmp_path / "a.png")
  assert pictures.names == ["a.png"] and (pictures.pixels[0] == COLOUR).all()


def test_a_file_too_large_to_read_is_named_if_it_should_be_a_picture(tmp_path):
  RGB.save(tmp_path / "a.png")
  for name in ("huge.png", "huge.mp4"):
    with (tmp_path / name).open("wb") as file:
      file.truncate(2**30 + 1)  # takes no room on the disk
  pictures = read_pictures(tmp_path)
  assert pictures.names == ["a.png"] and pictures.damaged == ["huge.png (a file of 1.0 GiB; at most 1 is read)"]
  assert pictures.report.left_out == {"no picture (.mp4)": 1}


def test_a_decompression_bomb_is_named(tmp_path):
  RGB.save(tmp_path / "a.png")
  RGB.resize((16, 16)).save(tmp_path / "bomb.png")
  content = bytearray((tmp_path / "bomb.png").read_bytes())
  content[16:24] = (20000).to_bytes(4, "big") * 2
  content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
  (tmp_path / "bomb.png").write_bytes(content)
  (damaged,) = read_pictures(tmp_path).damaged
  assert damaged.startswith("bomb.png (Image size (400000000 pixels) exceeds limit")


def test_only_so_many_bytes_of_files_wait(monkeypatch):
  monkeypatch.setattr(picture_folder, "_AHEAD_BYTES", 2500)
  read = []

  def files():
    for i in range(9):
      yield Entry(f"{i}.txt", 1000, lambda i=i: read.append(i) or b"")

  results = decoded(files(), Progress())
  assert next(results) == ("0.txt", None) and read == [0, 1, 2]
  assert [name for name, _ in results] == [f"{i}.txt" for i in range(1, 9)]


def test_progress_is_told_every_few_seconds(tmp_path, monkeypatch):
  for i in range(5):
    RGB.save(tmp_path / f"{i}.png")
  (tmp_path / "2.png").write_bytes(b"")
  said, times = [], iter(range(0, 100, 2))
  monkeypatch.setattr(picture_folder.time, "monotonic", lambda: next(times))
  read_pictures(tmp_path, say=said.append)
  assert said == ["3 files: 2 pictures, 1 left out"]
