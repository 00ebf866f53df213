import zipfile

import numpy as np
import pytest
from PIL import Image

from common.data import memory, picture_arrays
from common.data.picture_arrays import open_arrays, read_arrays
from common.errors import ConfigError

BYTES = np.random.RandomState(0).randint(0, 256, (4, 6, 5, 3), np.uint8)


@pytest.fixture(autouse=True, params=["in RAM", "in the file"])
def large(request, monkeypatch):
  """Arrays above this size stay in their file, and are looked at in parts."""
  if request.param == "in the file":
    monkeypatch.setattr(picture_arrays, "_LARGE", 0)
    monkeypatch.setattr(picture_arrays, "_BLOCK", 2 * BYTES[0].nbytes)


def read(tmp_path, images, background=255, **others):
  np.savez(tmp_path / "x.npz", images=images, **others)
  return read_arrays(tmp_path / "x.npz", background)


def test_bytes_come_as_they_are_and_floats_are_rounded(tmp_path):
  images, labels, report = read(tmp_path, BYTES, labels=np.arange(4))
  assert (images == BYTES).all() and labels.tolist() == [0, 1, 2, 3] and labels.dtype == np.int32
  assert report.record() == {"formats": {"npz of uint8": 4}} and report.quantization == "files"
  images, labels, report = read(tmp_path, (BYTES / 255.0).astype(np.float32))
  assert (images == BYTES).all() and labels is None and report.changes == {"floats, rounded": 4}
  np.save(tmp_path / "y.npy", BYTES[..., 0])
  images, _, report = read_arrays(tmp_path / "y.npy")
  assert (images == BYTES[..., :1]).all() and report.formats == {"npy of uint8": 4}


@pytest.mark.parametrize("kind", [np.bool_, np.uint8])
def test_0_and_1_are_black_and_white(tmp_path, kind):
  images, _, report = read(tmp_path, (BYTES > 127).astype(kind))
  assert (images == 255 * (BYTES > 127)).all() and report.changes == {"0 and 1 as 0 and 255": 4}


def test_black_pictures_are_black(tmp_path):
  images, _, report = read(tmp_path, np.zeros_like(BYTES))
  assert images.max() == 0 and report.changes == {}


@pytest.mark.parametrize("channels", [2, 4])
def test_a_last_channel_of_opacity_is_laid_on_the_background(tmp_path, channels):
  stored = np.concatenate([BYTES, BYTES[..., :1]], axis=-1)[..., -channels:]
  images, _, report = read(tmp_path, stored, background=0)
  exact = stored[..., :-1] * (stored[..., -1:] / 255.0)
  assert (images == np.rint(exact)).all() and report.changes == {"transparent, on black": 4}


def test_pictures_of_another_layout_are_refused_with_the_way_out(tmp_path):
  with pytest.raises(ConfigError, match=r"are not \[N, H, W, 1 or 3\]; transpose them, x.transpose\(0, 2, 3, 1\)"):
    read(tmp_path, BYTES.transpose(0, 3, 1, 2))
  assert (read(tmp_path, BYTES.transpose(0, 3, 1, 2).transpose(0, 2, 3, 1))[0] == BYTES).all()


def test_other_files_are_refused_with_the_way_out(tmp_path):
  Image.fromarray(BYTES[0]).save(tmp_path / "a.png")
  with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
    packed.write(tmp_path / "a.png", "a.png")
  np.savez_compressed(tmp_path / "whole.npz", images=BYTES)
  whole = (tmp_path / "whole.npz").read_bytes()
  (tmp_path / "cut.npz").write_bytes(whole[:-100])
  (tmp_path / "changed.npz").write_bytes(whole[:400] + bytes(40) + whole[440:])
  np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
  for name, message in (
    ("a.png", "is no .npz or .npy file; of pictures in files of their own, name the directory"),
    ("a.zip", "has a.png, which is no array; unpack it, and name the directory"),
    ("cut.npz", "cannot be read as .npz or .npy"),
    ("changed.npz", "cannot be read as .npz or .npy"),
    ("objects.npy", "cannot be read as .npz or .npy: it has Python objects, not numbers; write it anew"),
  ):
    with pytest.raises(ConfigError, match=f"{name} {message}"):
      read_arrays(tmp_path / name)


def test_what_memory_does_not_hold_is_refused_before_it_is_read(tmp_path, monkeypatch):
  np.savez_compressed(tmp_path / "a.npz", images=np.zeros((1000, 60, 60), np.uint8))
  np.savez(tmp_path / "b.npz", images=np.zeros((1000, 60, 60), np.uint8))
  monkeypatch.setattr(memory, "available", lambda: 2 * 2**20)
  with pytest.raises(ConfigError, match="a.npz needs 7 MB of memory, and 2 MB are free; store the pictures"):
    open_arrays(tmp_path / "a.npz")
  with pytest.raises(ConfigError, match="b.npz needs [37] MB of memory, and 2 MB are free"):
    read_arrays(tmp_path / "b.npz")
  if picture_arrays._LARGE == 0:
    assert open_arrays(tmp_path / "b.npz")[0][np.arange(3)].shape == (3, 60, 60, 1)
