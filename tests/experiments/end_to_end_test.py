"""One run from the command line: train, resume, evaluate, sample; and what stops or refuses one."""

import json
import re
import shutil
import socket
import struct
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from common import parallel
from common.data.digits import digits
from experiments.command_line.failures import EXIT_INTERRUPTED
from experiments.loading import load_run
from tests.experiments.runs import call, end, figures, run, start
from tests.reliability.disturbance import wait_until

TINY = "--config=vae:tiny"


def _write_idx(directory: Path) -> None:
  """The embedded digits as the four files of MNIST."""
  directory.mkdir()
  for split, prefix in (("train", "train"), ("test", "t10k")):
    images, labels = digits().read(split, np.arange(digits().sizes[split])).values()
    header = struct.pack(">IIII", 0x803, len(images), 8, 8)
    (directory / f"{prefix}-images-idx3-ubyte").write_bytes(header + np.asarray(images, np.uint8).tobytes())
    header = struct.pack(">II", 0x801, len(labels))
    (directory / f"{prefix}-labels-idx1-ubyte").write_bytes(header + labels.astype(np.uint8).tobytes())


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, list[object]]:
  """A finished run on files, and its command."""
  root = tmp_path_factory.mktemp("end_to_end")
  _write_idx(root / "files")
  words = [TINY, f"--workdir={root / 'run'}", "--config.data.name=mnist", f"--config.data.dir={root / 'files'}"]
  words += ["--config.data.train_split=train[:1000]", "--config.data.validation_split=train[1000:]"]
  words += ["--config.data.image_size=8", "--config.ema.decay=0.5"]
  _, err = run("train", *words)
  assert f"done: 40 steps in {root / 'run'}" in err and "step 10/40" in err
  return root / "run", words


def test_a_run_describes_itself(trained):
  workdir, _ = trained
  config, spec, versions = (
    json.loads((workdir / f"{name}.json").read_text()) for name in ("config", "spec", "versions")
  )
  assert config["version"] == 3 and config["data"]["name"] == "mnist" and config["ema"]["decay"] == 0.5
  assert spec["image_shape"] == [8, 8, 1] and spec["num_examples"] == 1000
  assert versions["jax"] == jax.__version__ and {"python", "commit"} <= set(versions)
  first_start = json.loads((workdir / "starts.jsonl").read_text().splitlines()[0])
  assert (first_start["step"], first_start["changes"], first_start["jax"]) == (0, [], jax.__version__)
  assert [line["step"] for line in figures(workdir)] == [10, 20, 20, 30, 40, 40]
  for name in ("samples", "reconstructions"):
    for step in (20, 40):
      with Image.open(workdir / name / f"{step:08d}.png") as picture:
        assert min(picture.size) >= 8 * 32 and len(np.unique(picture)) > 16
  assert list((workdir / "tensorboard").glob("events*")) and (workdir / "lock").read_text() == ""


def test_the_same_command_resumes_and_reports_what_changed(trained, capfd):
  workdir, words = trained
  before = (workdir / "metrics.jsonl").read_bytes()
  assert call("train", *words) == 0
  err = capfd.readouterr().err
  assert "resumed from step 40" in err and "done: 40 steps" in err and "changed" not in err
  assert (workdir / "metrics.jsonl").read_bytes() == before
  assert call("train", *words, "--config.checkpoint.keep=3", "--config.train.steps_per_call=10") == 0
  err = capfd.readouterr().err
  assert "config.checkpoint.keep: 2 -> 3" in err and "config.train.steps_per_call: 5 -> 10" in err
  assert (workdir / "metrics.jsonl").read_bytes() == before
  assert call("train", *words, "--config.optim.learning_rate=0.5") == 2
  assert "config.optim.learning_rate: 0.02 -> 0.5" in capfd.readouterr().err


def test_evaluate_where_the_data_lie_now(trained, capfd):
  workdir, _ = trained
  files, elsewhere = workdir.parent / "files", workdir.parent / "elsewhere"
  files.rename(elsewhere)
  try:
    assert call("evaluate", f"--workdir={workdir}") == 2
    err = capfd.readouterr().err
    assert str(files) in err and "--data_dir=DIR" in err and "config.data.dir" not in err
    assert call("evaluate", f"--workdir={workdir}", f"--data_dir={elsewhere}", "--json") == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert lines == [json.loads(line) for line in (workdir / "evaluations.jsonl").read_text().splitlines()]
    assert {line["protocol"]["split"] for line in lines} == {"test"} and lines[0]["protocol"]["n_real"] == 300
    assert lines[0]["source"]["step"] == 40 == lines[0]["source"]["net_updates"]
    scores = {line["metric"]: line["value"] for line in lines}
    assert scores["elbo"] == pytest.approx(-(scores["distortion"] + scores["rate"]))
    assert call("evaluate", f"--workdir={workdir}", f"--data_dir={elsewhere}", "--split=validation", "--json") == 0
    last = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])
    scores = {line["metric"]: line["value"] for line in map(json.loads, capfd.readouterr().out.splitlines())}
    assert scores["elbo"] == pytest.approx(last["elbo"], rel=1e-5)  # in training by one device, here by eight
  finally:
    elsewhere.rename(files)


def _pixels(workdir: Path, *words: object) -> np.ndarray:
  assert call("sample", f"--workdir={workdir}", f"--out={workdir / 'x.npz'}", *words) == 0
  with np.load(workdir / "x.npz") as file:
    return file["images"]


def test_sample_needs_the_workdir_only(trained, tmp_path):
  """A copy of the workdir's files far from the data, and picture i depends on the seed and on i only."""
  copy = tmp_path / "copy"
  copy.mkdir()
  for name in ("config.json", "spec.json"):
    shutil.copy(trained[0] / name, copy)
  shutil.copytree(trained[0] / "checkpoints", copy / "checkpoints")
  record = json.loads((copy / "config.json").read_text())
  record["data"]["dir"] = "/nowhere"
  (copy / "config.json").write_text(json.dumps(record))

  out, _ = run("sample", f"--workdir={copy}", cwd=tmp_path)
  assert str(copy / "samples-seed0.png") in out and "step 40, EMA weights" in out
  with Image.open(copy / "samples-seed0.png") as picture:
    picture.verify()
  few, many = _pixels(copy, "--num=5", "--seed=3"), _pixels(copy, "--num=70", "--seed=3")
  assert many.shape == (70, 8, 8, 1) and many.dtype == np.uint8
  np.testing.assert_array_equal(few, many[:5])
  assert (many[:5] != _pixels(copy, "--num=5", "--seed=4")).any()
  assert (many[:5] != _pixels(copy, "--num=5", "--seed=3", "--raw")).any()
  lines = _pixels(copy, "--num=3", "--seed=3", "--interpolate=4").reshape(3, 4, 8, 8, 1)
  np.testing.assert_array_equal(lines[:, 0], many[0:6:2])
  np.testing.assert_array_equal(lines[:, -1], many[1:6:2])
  np.testing.assert_array_equal(_pixels(copy, "--seeds=69,3-5", "--seed=3"), many[[69, 3, 4, 5]])
  second = _pixels(copy, "--seeds=1", "--seed=3", "--interpolate=4")
  np.testing.assert_array_equal(second, lines[1])
  assert call("sample", f"--workdir={copy}", "--seeds=69,7", "--seed=3", f"--out={tmp_path / 'each'}/") == 0
  assert sorted(path.name for path in (tmp_path / "each").iterdir()) == ["00007.png", "00069.png"]
  with Image.open(tmp_path / "each" / "00069.png") as picture:
    np.testing.assert_array_equal(np.asarray(picture), many[69, ..., 0])


def test_check_writes_nothing(tmp_path, capfd):
  assert call("train", TINY, "--check", f"--workdir={tmp_path / 'run'}") == 0
  out = capfd.readouterr().out
  for figure in ("parameters of net", "device memory, MB", "milliseconds a step", "process memory, MB"):
    assert f"{figure}: " in out
  assert not list(tmp_path.iterdir())


def test_init_from_another_run(trained, tmp_path, capfd):
  source, words = trained[0], [word for word in trained[1] if not str(word).startswith("--workdir")]
  words += ["--config.train.num_steps=10", "--config.evaluate.every=0", "--config.samples.every=0"]
  words.append(f"--init_from={source}")
  still = "--config.optim={'name':'sgd','learning_rate':1e-30}"  # what it starts from is what it ends with
  assert call("train", *words, still, f"--workdir={tmp_path / 'same'}") == 0
  before, after = (load_run(workdir, "last", parallel.make_mesh()).state for workdir in (source, tmp_path / "same"))
  jax.tree.map(np.testing.assert_array_equal, before.net.params, after.net.params)
  assert int(after.net.updates) == 10  # the optimizer and the counters are its own
  assert json.loads((tmp_path / "same" / "starts.jsonl").read_text())["init_from"] == str(source)
  assert call("train", *words, "--config.model.width=16", f"--workdir={tmp_path / 'other'}") == 2
  assert "(20, 32) -> (20, 16)" in capfd.readouterr().err
  assert not (tmp_path / "other" / "config.json").exists()  # a refused start binds the workdir to nothing


def test_a_second_writer_is_refused(tmp_path):
  words = (TINY, f"--workdir={tmp_path}", "--config.train.num_steps=10000000")
  with start("train", *words) as first:
    assert wait_until(first, lambda: any((tmp_path / "checkpoints").glob("*.json")))
    begun = time.monotonic()
    _, err = run("train", *words, code=2)
    assert time.monotonic() - begun < 60
    assert f"process {first.pid} on {socket.gethostname()}" in err and len(err.splitlines()) == 1
    assert "step" in run("sample", f"--workdir={tmp_path}")[0]  # a reader is not
    first.terminate()
    _, err = end(first, EXIT_INTERRUPTED)
  assert "stopped by a signal at step" in err


def test_eight_devices_continued_on_one_and_on_three(tmp_path):
  words = (TINY, "--config.log.every=5", "--config.evaluate.every=0", "--config.samples.every=0")
  run("train", *words, f"--workdir={tmp_path / '8'}", "--devices=8", "--config.train.num_steps=20")
  for devices in (1, 3):
    shutil.copytree(tmp_path / "8", tmp_path / str(devices))
    _, err = run("train", *words, f"--workdir={tmp_path / str(devices)}", f"--devices={devices}")
    assert "resumed from step 20" in err
  run("train", *words, f"--workdir={tmp_path / '8'}", "--devices=8")
  straight, *others = [figures(tmp_path / name) for name in "813"]
  for other in others:
    assert len(other) == len(straight) == 8
    for a, b in zip(straight, other, strict=True):
      assert b == pytest.approx(a, rel=1e-4)  # the order of sums differs, and Adagrad's steps with it


def test_early_stopping_stays_stopped(tmp_path, capfd):
  # The bound rises from evaluation to evaluation: with its least value as the best, the second is worse.
  words = [TINY, f"--workdir={tmp_path}", "--config.evaluate.every=10", "--config.train.patience=1"]
  words += ["--config.checkpoint.best_mode=min", "--config.samples.every=0"]
  assert call("train", *words) == 0
  assert "no better elbo in 1 evaluations" in capfd.readouterr().err
  assert [line["step"] for line in figures(tmp_path)] == [10, 10, 20, 20]
  assert call("train", *words) == 0
  assert "done: 20 steps" in capfd.readouterr().err and len(figures(tmp_path)) == 4
  assert load_run(tmp_path, "best", parallel.make_mesh()).step == 10


def test_patience_counts_from_its_step_and_a_stopped_run_goes_on_with_more(tmp_path):
  words = [TINY, f"--workdir={tmp_path}", "--config.evaluate.every=10", "--config.checkpoint.best_mode=min"]
  words += ["--config.samples.every=0", "--config.train.patience_from=30", "--config.log.every=10"]
  steps = lambda: [line["step"] for line in figures(tmp_path) if "z_gain" in line]  # noqa: E731
  assert call("train", *words, "--config.train.patience=1") == 0
  assert steps() == [10, 20, 30]  # the evaluation at 20 is worse and does not count
  assert call("train", *words, "--config.train.patience=2", "--config.train.num_steps=60") == 0
  assert steps() == [10, 20, 30, 40]


def test_not_finite_stops_before_it_is_saved(tmp_path, capfd):
  growing = "{'name':'exponential','start':1e-5,'factor':4.0}"
  optim = f"--config.optim={{'name':'sgd','learning_rate':{growing}}}"
  often = ("--config.log.every=5", "--config.checkpoint.every=5")
  assert call("train", "--config=vae:gaussian,tiny", f"--workdir={tmp_path}", optim, *often) == 3
  err = capfd.readouterr().err
  saved = sorted(int(path.stem) for path in (tmp_path / "checkpoints").glob("*.json"))
  assert saved and f"the last good checkpoint is of step {saved[-1]}" in err
  assert "lower learning rate" in err and len([line for line in err.splitlines() if "error" in line]) == 1
  for step in saved:
    for leaf in jax.tree.leaves(load_run(tmp_path, str(step), parallel.make_mesh()).state):
      assert np.isfinite(leaf).all()
  named = re.search(r"error: \w+ is (?:nan|-?inf) at step (\d+);", err)
  assert named and saved[-1] < int(named[1]) <= saved[-1] + 5
