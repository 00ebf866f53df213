"""The cache of compiled functions: where it lies, that it changes no bit, and that what is broken in it is harmless."""

import os
import stat
import time
from pathlib import Path

import jax
import pytest
from absl import flags

from common.training.log import Status
from experiments.command_line import compilation_cache
from tests.experiments.runs import end, figures, start

SHORT = ("--config=vae:tiny", "--config.train.num_steps=10", "--config.evaluate.every=0", "--config.samples.every=0")
LOUD = Status(enabled=True)


@pytest.fixture
def flag():
  """Sets --compilation_cache, and gives JAX's settings back after the test."""
  names = ["jax_compilation_cache_dir", "jax_enable_compilation_cache"]
  names += ["jax_persistent_cache_min_compile_time_secs", "jax_persistent_cache_min_entry_size_bytes"]
  before = {name: getattr(jax.config, name) for name in names}
  flags.FLAGS.mark_as_parsed()
  yield lambda value: setattr(flags.FLAGS, "compilation_cache", value)
  flags.FLAGS["compilation_cache"].unparse()
  for name, value in before.items():
    jax.config.update(name, value)


def test_the_place_is_the_flag_then_jax_own_variable_then_the_users_cache(flag, tmp_path, monkeypatch):
  flag(None)
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "jax"))
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  assert compilation_cache.directory().parent == tmp_path / "jax"
  assert compilation_cache.directory().name.startswith(f"jax-{jax.__version__}-")
  monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
  assert compilation_cache.directory().parent == tmp_path / "xdg" / "jax-image-generation"
  monkeypatch.delenv("XDG_CACHE_HOME")
  assert compilation_cache.directory().parent == tmp_path / "home" / ".cache" / "jax-image-generation"
  flag(str(tmp_path / "flag"))
  assert compilation_cache.directory().parent == tmp_path / "flag"
  flag("")
  assert compilation_cache.directory() is None


def test_another_processor_has_entries_of_its_own(flag, tmp_path, monkeypatch):
  flag(str(tmp_path))
  here, read = compilation_cache.directory(), Path.read_text
  monkeypatch.setattr(Path, "read_text", lambda *a, **k: read(*a, **k).replace("flags\t\t: ", "flags\t\t: avx1024 "))
  assert compilation_cache.directory() != here and compilation_cache.directory().parent == here.parent


def test_the_name_is_the_projects():
  text = (Path(__file__).parents[3] / "pyproject.toml").read_text()
  assert f'name = "{compilation_cache.NAME}"' in text


def test_a_place_that_cannot_be_written_is_one_line_and_no_cache(flag, tmp_path, capsys):
  (tmp_path / "file").write_text("")
  flag(str(tmp_path / "file"))
  compilation_cache.start(LOUD)
  err = capsys.readouterr().err
  assert len(err.splitlines()) == 1 and "compiling without a cache" in err and str(tmp_path / "file") in err
  assert not jax.config.jax_enable_compilation_cache


def test_the_least_recently_used_entries_go(flag, tmp_path, monkeypatch):
  flag(str(tmp_path))
  place = compilation_cache.directory()
  place.mkdir(parents=True)
  now = time.time()
  for age, name in enumerate(("old", "read", "new", "newest")):
    (place / f"{name}-cache").write_bytes(bytes(1000))
    os.utime(place / f"{name}-cache", (now if name == "read" else now - 1000, now - 1000 + age))
  (place / "notes.txt").write_text("somebody's")
  monkeypatch.setattr(compilation_cache, "MAX_BYTES", 2500)
  compilation_cache.start(LOUD)
  assert {path.name for path in place.iterdir()} == {"read-cache", "newest-cache", "notes.txt"}


def test_at_once_warm_damaged_and_without_give_the_same_bits(tmp_path):
  cache, errors = tmp_path / "cache", {}

  def train(*names: str) -> None:
    """Trains in processes that run at the same time."""
    place = {name: "" if name == "without" else str(cache) for name in names}
    started = {n: start("train", *SHORT, f"--workdir={tmp_path / n}", f"--compilation_cache={place[n]}") for n in names}
    errors.update({name: end(process)[1] for name, process in started.items()})

  train("first", "second")
  (place,) = cache.iterdir()
  assert stat.S_IMODE(place.stat().st_mode) == 0o700
  entries = {path: path.read_bytes() for path in place.glob("*-cache")}
  assert any(path.name.startswith("jit__train_call") for path in entries)
  train("warm")
  assert {path: path.read_bytes() for path in place.glob("*-cache")} == entries  # nothing was compiled again
  for path, content in entries.items():
    path.write_bytes(content[: len(content) // 2])
  train("damaged", "without")
  for err in errors.values():
    assert all(line[2] == line[5] == ":" for line in err.splitlines()), err  # status lines and nothing else
  lines = [figures(tmp_path / name) for name in errors]
  assert lines[0] and lines.count(lines[0]) == 5
