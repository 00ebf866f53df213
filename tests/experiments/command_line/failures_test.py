"""What comes from outside the config ends in three lines at most, with the way out and an exit code."""

import errno
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from common import parallel
from common.errors import ConfigError
from experiments.command_line import failures
from experiments.command_line import flags as command_line
from tests.experiments.runs import ROOT, call, run

COMMANDS = (
  "arithmetic", "benchmark", "convert_inception", "evaluate", "export_classifier",
  "probe", "reproduce", "sample", "train",
)  # fmt: skip


def _raise(error: BaseException) -> int:
  raise error


@pytest.mark.parametrize(
  ("error", "code", "said"),
  [
    (OSError(errno.ENOSPC, "No space left on device", "a/x"), 2, "a/x: No space left on device\nFree some space"),
    (
      PermissionError(errno.EACCES, "Permission denied", "a"),
      2,
      "a: Permission denied\nAllow it, or name another place",
    ),
    (MemoryError("cannot allocate"), 2, "out of memory: MemoryError: cannot allocate"),
    (RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nallocating"), 2, "ask for less"),
    (ConfigError("one\ntwo\nthree\nfour"), 2, "error: one\ntwo\nthree; four\n"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
  ],
  ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_error_from_outside(error, code, said, capfd):
  command_line.forget()  # what a test before this one ran
  assert failures.exit_code(lambda: _raise(error)) == code
  out, err = capfd.readouterr()
  assert not out and said in err and len(err.splitlines()) <= 3 and "Traceback" not in err


def test_a_fault_of_the_program_leaves_its_traceback_in_a_file(capfd):
  assert failures.exit_code(lambda: _raise(KeyError("here"))) == 1
  err = capfd.readouterr().err
  assert "KeyError: 'here'" in err and len(err.splitlines()) == 2
  file = Path(re.search(r"traceback is in (\S+)\.$", err, re.M)[1])
  assert "_raise(KeyError" in file.read_text()
  file.unlink()


def test_commands_can_be_imported_into_one_process(capsys):
  for name in COMMANDS:
    importlib.import_module(f"experiments.{name}")
  for name, flag in (("train", "--profile"), ("sample", "--columns"), ("train", "--profile")):
    assert call(name, "--help") == 0
    assert flag in capsys.readouterr().out


def test_a_folder_with_packages_of_our_names(tmp_path):
  for name in ("common", "configs", "gan", "vae"):
    (tmp_path / f"{name}.py").write_text("raise ImportError('of the user')")
  out, _ = run("train", "--config=vae", "--help", cwd=tmp_path)
  assert "--config.model.z_dim" in out


def test_home_in_a_value_and_too_many_pictures_for_the_memory(monkeypatch, tmp_path, capfd):
  monkeypatch.setenv("HOME", str(tmp_path))
  assert call("sample", "--workdir=~/run") == 2
  assert f"{tmp_path}/run/config.json does not exist" in capfd.readouterr().err
  assert command_line._at_home("--compare=a,~/b") == f"--compare=a,{tmp_path}/b"
  monkeypatch.setattr("experiments.sample.main", lambda: _raise(MemoryError("cannot allocate")))
  assert call("sample", "--num=1000000") == 2
  assert "or ask for less: --num below 1000000." in capfd.readouterr().err


def test_a_device_that_is_not_there(monkeypatch, tmp_path):
  monkeypatch.setenv("JAX_PLATFORMS", "cuda")
  _, err = run("train", "--config=vae:tiny", f"--workdir={tmp_path / 'new'}", code=2)
  assert err.startswith("error: JAX_PLATFORMS=cuda: there is no such device here") and len(err.splitlines()) == 2
  assert not list(tmp_path.iterdir())


def test_more_memory_than_there_is(tmp_path, capfd):
  words = ("--config=vae:tiny", f"--workdir={tmp_path}", "--config.evaluate.every=0", "--config.samples.every=0")
  assert call("train", *words, "--config.model.width=10000000000") == 2
  err = capfd.readouterr().err
  assert "error: out of memory: " in err and "a --config.train.batch_size below 48" in err
  assert len(err[err.index("error: ") :].splitlines()) == 2
  assert (tmp_path / "config.json").exists()  # it died at its first step, and other settings may follow
  assert call("train", *words, "--config.train.num_steps=10") == 0


def test_nobody_reads_and_nothing_takes_what_is_printed():
  command = [sys.executable, "-m", "experiments.sample", "--help"]
  buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
  options = {"cwd": ROOT, "env": buffered, "stderr": subprocess.PIPE, "text": True, "check": False}
  with open("/dev/full", "wb") as full:
    done = subprocess.run(command, stdout=full, **options)
  assert done.returncode == 2 and "No space left on device" in done.stderr and len(done.stderr.splitlines()) == 2
  read, write = os.pipe()
  os.close(read)
  done = subprocess.run(command, stdout=write, **options)
  os.close(write)
  assert (done.returncode, done.stderr) == (141, "")


def test_processes_that_never_come(monkeypatch):
  import threading

  never, said = threading.Event(), []
  monkeypatch.setattr(parallel.jax.distributed, "initialize", lambda **_: never.wait())
  monkeypatch.setattr(parallel.atexit, "register", lambda *_: None)
  monkeypatch.setattr(parallel, "START_SECONDS", 2)
  monkeypatch.setattr(parallel, "SAY_SECONDS", 1)
  with pytest.raises(ConfigError, match="process 1 of 3 at here:1 waited 2 s for the others"):
    parallel.start_processes("here:1", 3, 1, said.append)
  never.set()
  assert said == [f"process 1 of 3 at here:1 waits for the others, {i} s of 2" for i in (1, 2)]


@pytest.mark.parametrize(
  ("words", "way_out"),
  [
    (("train", "--config=vae:tiny"), "name another place"),
    (("evaluate",), "score a copy of the run"),
    (("sample",), "name another place: --out=samples-seed0.png"),
    (("probe",), "probe a copy of the run"),
  ],
  ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_a_workdir_that_cannot_be_written_to(words, way_out, tmp_path, monkeypatch, capfd):
  monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write wherever the disk allows it
  name, *rest = words
  assert call(name, f"--workdir={tmp_path}", *rest) == 2
  err = capfd.readouterr().err
  assert f"--workdir={tmp_path} cannot be written to; allow it, or {way_out}\n" in err and "Traceback" not in err


@pytest.mark.parametrize("alone", [True, False])
def test_a_refusal_of_one_of_several_processes_ends_it_at_once(alone, monkeypatch, capfd):
  ended = []
  monkeypatch.setattr(failures, "_is_one_of_several", lambda: True)
  monkeypatch.setattr(failures.os, "_exit", ended.append)
  monkeypatch.setattr(parallel.jax, "process_count", lambda: 2)
  monkeypatch.setattr(parallel.multihost_utils, "broadcast_one_to_all", lambda x: x)
  refused = ConfigError("the data are missing")
  shared = lambda: parallel.from_process_0(lambda: _raise(refused), errors=(ConfigError,))  # noqa: E731
  assert failures.exit_code((lambda: _raise(refused)) if alone else shared) == 2
  assert ended == ([2] if alone else [])  # an orderly end waits for processes that know nothing of it
  assert capfd.readouterr().err == "error: the data are missing\n"


@pytest.mark.parametrize(
  ("text", "code"), [("UNKNOWN: Gloo all-reduce failed: Connection closed by peer", 2), ("INTERNAL: a bad program", 1)]
)
def test_a_fault_in_one_of_several_processes_is_not_taken_for_a_lost_one(text, code, monkeypatch, tmp_path, capfd):
  ended = []
  monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
  monkeypatch.setattr(failures, "_is_one_of_several", lambda: True)
  monkeypatch.setattr(failures.os, "_exit", ended.append)
  failures.exit_code(lambda: _raise(jax.errors.JaxRuntimeError(text)))
  err = capfd.readouterr().err
  assert ended == [code] and ("another process of the run ended" in err) == (code == 2)
  assert ("Its traceback is in" in err) == (code == 1)
