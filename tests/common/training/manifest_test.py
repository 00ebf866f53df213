"""Damage, lost files and stops in the middle of a commit: what is restored is whole, and what is wrong is named."""

import contextlib
import itertools
import os
import random
import re
import shutil
from pathlib import Path

import pytest

from common.training import checkpoint, manifest
from common.training.checkpoint import CheckpointError, Checkpoints, NoCheckpointError
from tests.common.training.saved import assert_same, names, restore, save, state_of


def test_every_planted_damage_is_found_and_the_older_step_used(tmp_path):
  save(tmp_path / "good", 1, 2)
  good = tmp_path / "good"
  files = [path.relative_to(good) for path in [good / "2.json", *(good / "2").rglob("*")] if path.is_file()]
  rng = random.Random(0)
  for trial in range(60):
    bad = tmp_path / f"bad{trial}"
    shutil.copytree(good, bad)
    file, kind = files[trial % len(files)], rng.choice(["flip", "cut", "delete"])
    data = bytearray((bad / file).read_bytes())
    if kind == "flip" and data:
      data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
      (bad / file).write_bytes(data)
    elif kind == "cut" and data:
      (bad / file).write_bytes(data[: rng.randrange(len(data))])
    else:
      (bad / file).unlink()
    restored = restore(bad)
    assert restored.step == 1 and len(restored.skipped) == 1 and file.as_posix() in restored.skipped[0]
    assert_same(restored.state, state_of(1))
    shutil.rmtree(bad)


def test_foreign_files_and_swapped_steps_are_found(tmp_path):
  save(tmp_path / "good", 1, 2)
  shutil.copytree(tmp_path / "good", tmp_path / "extra")
  (tmp_path / "extra" / "2" / "d" / "0").write_text("")
  assert "2/d/0 was not written" in restore(tmp_path / "extra").skipped[0]
  shutil.copytree(tmp_path / "good", tmp_path / "edited")
  record = (tmp_path / "edited" / "2.json").read_text()
  (tmp_path / "edited" / "2.json").write_text(re.sub(r'("progress": {\s+"step": )2', r"\g<1>7", record))
  assert "2.json is damaged" in restore(tmp_path / "edited").skipped[0]  # the files that it lists are whole
  shutil.copytree(tmp_path / "good", tmp_path / "renamed")
  shutil.copyfile(tmp_path / "renamed" / "1.json", tmp_path / "renamed" / "3.json")
  assert restore(tmp_path / "renamed").skipped == ("step 3: 3.json belongs to step 1",)
  swapped = tmp_path / "good"
  (swapped / "1").rename(swapped / "x")
  (swapped / "2").rename(swapped / "1")
  (swapped / "x").rename(swapped / "2")
  with pytest.raises(CheckpointError, match=r"(?s)no good checkpoint.*step 2: 2/.*step 1: 1/.*--workdir"):
    restore(swapped)
  with pytest.raises(CheckpointError, match=r"step 2 cannot be restored: 2/.*other steps: 1"):
    restore(swapped, step=2)


def test_a_lost_manifest_falls_back_and_is_cleaned_by_the_next_save(tmp_path):
  save(tmp_path, 1, 2)
  (tmp_path / "2.json").unlink()
  with Checkpoints(tmp_path, keep=3) as checkpoints:
    assert checkpoints.steps() == [1]
    restored = checkpoints.restore(state_of())
    assert restored.step == 1 and "2.json is missing" in restored.skipped[0]
    checkpoints.save(2, state_of(20), {})
  assert_same(restore(tmp_path).state, state_of(20))
  assert names(tmp_path) == ["1", "1.json", "2", "2.json"]
  (tmp_path / "2" / "_METADATA").write_text("{}")  # a damaged step does not count as one that is kept
  with Checkpoints(tmp_path, keep=2) as checkpoints:
    assert checkpoints.restore(state_of()).step == 1
    checkpoints.save(3, state_of(3), {})
    checkpoints.wait()
    assert checkpoints.steps() == [1, 3]


def test_nothing_saved_is_told_from_everything_damaged(tmp_path):
  with pytest.raises(NoCheckpointError):
    restore(tmp_path / "absent")
  assert not (tmp_path / "absent").exists()
  save(tmp_path, 1)
  (tmp_path / "1.json").rename(tmp_path / "kept")
  with pytest.raises(NoCheckpointError, match=r"1\.json is missing"):  # killed before the first manifest
    restore(tmp_path)
  (tmp_path / "1.json").write_text("{}")
  with pytest.raises(CheckpointError, match="damaged") as error:
    restore(tmp_path)
  assert not isinstance(error.value, NoCheckpointError)


def test_a_stop_at_each_file_operation_of_the_commit(tmp_path, monkeypatch):
  """keep=1, and all stops before the k-th fsync, rename, unlink or rmtree: the old or the new step is whole."""
  read = manifest._sha256
  monkeypatch.setattr(manifest, "_sha256", lambda path, sync=False: read(path))  # without one fsync for each file
  outcomes = []
  for k in range(6):
    directory, calls = tmp_path / str(k), itertools.count()
    save(directory, 1, keep=1)

    def wrapped(function, calls=calls, k=k):
      def guarded(*args, **kwargs):
        if next(calls) >= k:
          raise OSError("stopped")
        return function(*args, **kwargs)

      return guarded

    with monkeypatch.context() as patch:
      checkpoints = Checkpoints(directory, keep=1)
      commit, wait = checkpoints._commit, checkpoints._orbax.wait_until_finished

      def from_here_on(*args, patch=patch, commit=commit, wait=wait, wrapped=wrapped):
        wait()  # orbax's own part is over
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (shutil, "rmtree")):
          patch.setattr(owner, name, wrapped(getattr(owner, name)))
        commit(*args)

      patch.setattr(checkpoints, "_commit", from_here_on)
      checkpoints.save(2, state_of(2), {})
      with contextlib.nullcontext() if k == 5 else pytest.raises(CheckpointError, match="stopped"):
        checkpoints.close()
    restored = restore(directory)
    assert_same(restored.state, state_of(restored.step))
    outcomes.append(restored.step)
    save(directory, 3, keep=1)
    assert names(directory) == ["3", "3.json"]
  assert outcomes == [1, 1, 2, 2, 2, 2]  # the rename is what commits


def test_a_reader_takes_the_next_where_the_writer_deletes_what_it_reads(tmp_path, monkeypatch):
  save(tmp_path, 1)
  match, read = checkpoint._match, []

  def overtaken(path, *rest):
    if not read:
      save(tmp_path, 2, keep=1)
    read.append(path)
    match(path, *rest)

  monkeypatch.setattr(checkpoint, "_match", overtaken)
  assert restore(tmp_path).step == 2
  assert len(read) == 2 and not read[0].exists()


def test_a_reader_looks_again_where_the_writer_deletes_what_it_verifies(tmp_path, monkeypatch):
  save(tmp_path, 1, 2, keep=2)
  (tmp_path / "2.json").rename(tmp_path / "later")  # its save goes on
  read = manifest._sha256

  def overtaken(path, sync=False):
    if (tmp_path / "later").exists():
      (tmp_path / "later").rename(tmp_path / "2.json")
      (tmp_path / "1.json").unlink()
      path.unlink()  # and the rest of 1/ follows
    return read(path, sync)

  monkeypatch.setattr(manifest, "_sha256", overtaken)
  assert restore(tmp_path).step == 2
