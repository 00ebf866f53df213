"""What a full disk or a kill interrupts leaves what was there before."""

import resource
from contextlib import contextmanager

import pytest

from common import files
from common.training import event_file


@contextmanager
def room_for(size: int):
  """No file of this process may grow beyond ``size`` bytes: like a disk that fills up, writes take a part first."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_takes_a_file_whole_or_leaves_the_old_one(tmp_path):
  path = tmp_path / "a.json"
  files.write(path, "old")
  with room_for(1000), pytest.raises(OSError, match=r"/a\.json"):
    files.write(path, "x" * 5000)
  assert [file.name for file in tmp_path.iterdir()] == ["a.json"] and path.read_text() == "old"
  files.write(path, "new")
  assert path.read_text() == "new"


def test_a_full_disk_takes_a_line_whole_or_not_at_all(tmp_path):
  path = tmp_path / "a.jsonl"
  files.append(path, "first")
  with room_for(1000), pytest.raises(OSError, match=r"/a\.jsonl"):
    files.append(path, "x" * 5000)
  assert path.read_text() == "first\n"
  files.append(path, "second")
  assert path.read_text() == "first\nsecond\n"


@pytest.mark.parametrize(("left", "whole"), [("one\ntw", "one\n"), ("on", ""), ("one\n", "one\n"), ("", "")])
def test_half_a_line_that_a_kill_left_goes(left, whole, tmp_path):
  path = tmp_path / "a.jsonl"
  path.write_text(left)
  files.append(path, "next")
  assert path.read_text() == f"{whole}next\n"


def test_a_full_disk_takes_an_event_whole_or_not_at_all(tmp_path):
  board = event_file.EventFile(tmp_path)
  (path,) = tmp_path.iterdir()
  before = path.read_bytes()
  with room_for(len(before) + 20), pytest.raises(OSError):
    board.scalars(1, {"loss": 1.0})
  assert path.read_bytes() == before
  board.close()
