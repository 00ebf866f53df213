"""Whose run a workdir holds: what is not the same is refused, before anything is written, with a way out that works."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.data.dataset import open_dataset
from common.evaluation.validation import PROTOCOL, Validation
from common.training.workdir import write_json
from tests.common.data.settings import data_config
from tests.experiments.runs import call

WORDS = ("--config=vae:tiny", "--config.train.num_steps=10", "--config.evaluate.every=0", "--config.samples.every=0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
  workdir = tmp_path_factory.mktemp("identity") / "run"
  assert call("train", *WORDS, f"--workdir={workdir}") == 0
  return workdir


@pytest.fixture
def copy(trained, tmp_path) -> Path:
  return Path(shutil.copytree(trained, tmp_path / "copy"))


def contents(workdir: Path) -> dict[str, bytes]:
  files = {file.relative_to(workdir).as_posix(): file for file in workdir.rglob("*") if file.is_file()}
  return {name: file.read_bytes() for name, file in files.items() if name != "lock"}


def test_all_labels_changed_is_another_data_set(monkeypatch):
  before = open_dataset(data_config())
  images, labels = before.train.arrays().values()
  changed = dataclasses.replace(before.source, load=lambda split: {"image": images, "label": (labels + 1) % 10})
  monkeypatch.setattr("common.data.dataset.open_source", lambda data, say: changed)
  now = open_dataset(data_config()).spec
  assert before.spec.differences(now) == [f"data.fingerprint: {before.spec.fingerprint} -> {now.fingerprint}"]


@pytest.mark.parametrize(
  ("missing", "damaged", "words", "said"),
  [
    ("config.json", "", ["--config.seed=7"], "no config.json to compare with; bring it back, or use another --workdir"),
    ("spec.json", "", [], "spec.json does not exist; restore it from a copy"),
    ("", "spec.json", ["--config.checkpoint.keep=3"], "spec.json describes no run"),
    ("", "config.json", [], "config.json does not belong to a run"),
    ("", "versions.json", ["--config.checkpoint.keep=3"], "versions.json is damaged"),
  ],
)
def test_nothing_to_compare_with_is_refused_before_anything_is_written(missing, damaged, words, said, copy, capfd):
  if missing:
    (copy / missing).unlink()
  if damaged:
    (copy / damaged).write_text("[" if damaged == "versions.json" else "{}")
  before = contents(copy)
  assert call("train", *WORDS, f"--workdir={copy}", *words) == 2
  assert said in capfd.readouterr().err
  assert contents(copy) == before


def test_versions_that_are_lost_are_said_and_written_anew(copy, capfd):
  (copy / "versions.json").unlink()
  assert call("train", *WORDS, f"--workdir={copy}", "--config.checkpoint.keep=3") == 0
  err = capfd.readouterr().err
  assert "versions.json is missing: versions are not compared" in err and "another version" not in err
  assert json.loads((copy / "config.json").read_text())["checkpoint"]["keep"] == 3 and (copy / "versions.json").exists()


def test_a_changed_setting_is_refused_with_a_way_out_that_works(copy, capfd):
  changed = (*WORDS, "--config.optim.learning_rate=0.001")
  assert call("train", *changed, f"--workdir={copy}") == 2
  err = capfd.readouterr().err
  assert "config.optim.learning_rate: 0.02 -> 0.001" in err
  assert f"another --workdir, where --init_from={copy} starts from its weights" in err
  assert call("train", *changed, f"--workdir={copy.parent / 'other'}", f"--init_from={copy}") == 0
  assert f"weights from step 10 of {copy}" in capfd.readouterr().err


def test_data_beside_the_command_are_found_from_elsewhere_and_are_no_change(copy, monkeypatch, capfd):
  for where in ("folder", str(copy.parent / "folder")):
    monkeypatch.chdir(copy.parent)
    assert call("train", *WORDS, f"--workdir={copy}", f"--config.data.dir={where}") == 0
    assert json.loads((copy / "config.json").read_text())["data"]["dir"] == str(copy.parent / "folder")
  record = json.loads((copy / "config.json").read_text())
  write_json(copy / "config.json", {**record, "data": {**record["data"], "dir": "folder"}})  # as older versions did
  assert call("train", *WORDS, f"--workdir={copy}", "--config.data.dir=folder") == 0
  assert capfd.readouterr().err.count("changed since the last start: config.data.dir") == 1


def test_a_start_that_saved_nothing_binds_its_workdir_to_nothing(copy, capfd):
  shutil.rmtree(copy / "checkpoints")
  assert call("train", *WORDS, f"--workdir={copy}", "--config.optim.learning_rate=0.001") == 0
  record = json.loads((copy / "config.json").read_text())
  assert record["optim"]["learning_rate"] == 0.001
  assert [json.loads(line)["step"] for line in (copy / "metrics.jsonl").read_text().splitlines()] == [10]


def test_pictures_scored_otherwise_than_before_are_said(tmp_path):
  said: list[str] = []
  for protocol, say in (({"n_real": 5, "extractor": "a"}, None), ({"n_real": 5, "extractor": "b"}, said.append)):
    Validation.write_protocol(SimpleNamespace(protocol=protocol), tmp_path, say)
  assert said == ["pictures are scored otherwise than before: extractor: a -> b"]
  assert json.loads((tmp_path / PROTOCOL).read_text())["extractor"] == "b"
