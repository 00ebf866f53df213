"""Checkpoints: to the bit, on other devices, after kills, full disks and planted damage."""

import contextlib
import itertools
import json
import math
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from common.training import checkpoint, manifest
from common.training.checkpoint import CheckpointError, Checkpoints, NoCheckpointError
from tests.experiments.runs import free_port

ROOT = Path(__file__).resolve().parents[3]


class Net(flax.struct.PyTreeNode):
  params: dict
  opt_state: tuple
  ema: dict | None
  step: jax.Array


def _state(seed: int = 0, width: int = 6) -> Net:
  rng = np.random.default_rng(seed)
  params = {"conv": {"kernel": rng.normal(size=(width, 4))}, "bias": rng.normal(size=4)}
  params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
  more = {
    "half": jnp.asarray(rng.normal(size=(3, 5)), jnp.bfloat16),
    "mask": jnp.asarray(rng.integers(0, 2, 7), bool),
    "bits": jnp.asarray(rng.integers(0, 2**32, 9), jnp.uint32),
    "special": jnp.asarray([jnp.nan, -0.0, jnp.inf, 1e-45], jnp.float32),
  }
  opt_state = optax.chain(optax.clip(1.0), optax.adam(1e-3)).init(params)
  return Net({**params, **more}, opt_state, None, jnp.asarray(seed, jnp.int32))


def _like(state, sharding=None):
  default = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding or default), state)


def _assert_same(a, b) -> None:
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    assert x.dtype == y.dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes()


def _save(directory: Path, *steps: int, keep: int = 3) -> None:
  with Checkpoints(directory, keep=keep) as checkpoints:
    for step in steps:
      checkpoints.save(step, _state(step), {"step": step})


def _restore(directory: Path, step: int | None = None):
  with Checkpoints(directory, keep=1, read_only=True) as checkpoints:
    return checkpoints.restore(_like(_state()), step)


def _names(directory: Path) -> list[str]:
  return sorted(path.name for path in directory.iterdir())


def test_round_trip_to_the_bit(tmp_path):
  progress = {"best": 0.1 + 0.2, "tiny": 5e-324, "inf": math.inf, "zero": -0.0, "sums": [1 / 3, 2**53 + 1], "name": "é"}
  progress = {**progress, **{str(i): random.Random(i).uniform(-1, 1) * 10.0**i for i in range(-300, 300, 7)}}
  with Checkpoints(tmp_path, keep=2) as checkpoints:
    checkpoints.save(7, _state(7), progress)
    restored = checkpoints.restore(_state(0))  # arrays will do in place of ShapeDtypeStructs
  _assert_same(restored.state, _state(7))
  assert (restored.step, restored.skipped) == (7, ())
  assert repr(restored.progress) == repr(progress)


def test_progress_is_taken_at_the_call_and_must_be_json(tmp_path):
  with Checkpoints(tmp_path, keep=1) as checkpoints:
    progress = {"sums": [1.0]}
    checkpoints.save(1, _state(), progress)
    progress["sums"].append(2.0)
    assert checkpoints.restore(_state()).progress == {"sums": [1.0]}
    with pytest.raises(TypeError, match="float32"):
      checkpoints.save(2, _state(), {"loss": np.float32(1.0)})


def test_donation_straight_after_save(tmp_path):
  """On CPU orbax writes from a view of the array; if the next step reused its buffer, the checkpoint would be torn."""
  train_step = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
  make = jax.jit(lambda: {f"{i}": jnp.full((400, 500), i, jnp.float32) for i in range(20)})
  mesh = Mesh(np.asarray(jax.devices()), ("data",))
  for sharding in (None, NamedSharding(mesh, PartitionSpec())):
    state = train_step(make() if sharding is None else jax.device_put(make(), sharding))
    with Checkpoints(tmp_path / str(sharding is None), keep=1) as checkpoints:
      for round_ in range(3):
        expected = jax.tree.map(lambda x: np.array(x, copy=True), state)
        checkpoints.save(round_, state, {})
        for _ in range(20):
          state = train_step(state)
        restored = checkpoints.restore(expected).state
        _assert_same(restored, expected)
        # What was restored may be donated too.
        _assert_same(train_step(restored), jax.tree.map(lambda x: x + 1, expected))


def test_saved_on_8_devices_restored_on_1_and_3(tmp_path):
  devices = jax.devices()
  everywhere = NamedSharding(Mesh(np.asarray(devices), ("data",)), PartitionSpec())
  split = NamedSharding(Mesh(np.asarray(devices), ("data",)), PartitionSpec("data"))
  rows = jnp.arange(48.0).reshape(24, 2)
  state = {"net": jax.device_put(_state(3), everywhere), "rows": jax.device_put(rows, split)}
  with Checkpoints(tmp_path, keep=1) as checkpoints:
    checkpoints.save(1, state, {})
    for number in (1, 3):
      mesh = Mesh(np.asarray(devices[:number]), ("data",))
      like = {
        "net": _like(_state(), NamedSharding(mesh, PartitionSpec())),
        "rows": _like(rows, NamedSharding(mesh, PartitionSpec("data"))),
      }
      restored = checkpoints.restore(like).state
      _assert_same(restored, {"net": _state(3), "rows": rows})
      assert len(restored["rows"].sharding.device_set) == number


def test_every_planted_damage_is_found_and_the_older_step_used(tmp_path):
  _save(tmp_path / "good", 1, 2)
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
    restored = _restore(bad)
    assert restored.step == 1 and len(restored.skipped) == 1 and file.as_posix() in restored.skipped[0]
    _assert_same(restored.state, _state(1))
    shutil.rmtree(bad)


def test_foreign_files_and_swapped_steps_are_found(tmp_path):
  _save(tmp_path / "good", 1, 2)
  shutil.copytree(tmp_path / "good", tmp_path / "extra")
  (tmp_path / "extra" / "2" / "d" / "0").write_text("")
  assert "2/d/0 was not written" in _restore(tmp_path / "extra").skipped[0]
  shutil.copytree(tmp_path / "good", tmp_path / "renamed")
  shutil.copyfile(tmp_path / "renamed" / "1.json", tmp_path / "renamed" / "3.json")
  assert _restore(tmp_path / "renamed").skipped == ("step 3: 3.json belongs to step 1",)
  swapped = tmp_path / "good"
  (swapped / "1").rename(swapped / "x")
  (swapped / "2").rename(swapped / "1")
  (swapped / "x").rename(swapped / "2")
  with pytest.raises(CheckpointError, match=r"(?s)no good checkpoint.*step 2: 2/.*step 1: 1/.*--workdir"):
    _restore(swapped)
  with pytest.raises(CheckpointError, match=r"step 2 cannot be restored: 2/.*other steps: 1"):
    _restore(swapped, step=2)


def test_lost_manifest_falls_back_and_is_cleaned_by_the_next_save(tmp_path):
  _save(tmp_path, 1, 2)
  (tmp_path / "2.json").unlink()
  with Checkpoints(tmp_path, keep=3) as checkpoints:
    assert checkpoints.steps() == [1]
    restored = checkpoints.restore(_state())
    assert restored.step == 1 and "2.json is missing" in restored.skipped[0]
    checkpoints.save(2, _state(20), {})
  _assert_same(_restore(tmp_path).state, _state(20))
  assert _names(tmp_path) == ["1", "1.json", "2", "2.json"]


def test_nothing_saved_is_told_from_everything_damaged(tmp_path):
  with pytest.raises(NoCheckpointError):
    _restore(tmp_path / "absent")
  assert not (tmp_path / "absent").exists()
  _save(tmp_path, 1)
  (tmp_path / "1.json").rename(tmp_path / "kept")
  with pytest.raises(NoCheckpointError, match=r"1\.json is missing"):  # killed before the first manifest
    _restore(tmp_path)
  (tmp_path / "1.json").write_text("{}")
  with pytest.raises(CheckpointError, match="damaged") as error:
    _restore(tmp_path)
  assert not isinstance(error.value, NoCheckpointError)


def test_keep_and_abandoned_later_steps(tmp_path):
  _save(tmp_path, 10, 20, 30, 40, keep=3)
  (tmp_path / "note.txt").write_text("mine")
  assert _names(tmp_path) == ["20", "20.json", "30", "30.json", "40", "40.json", "note.txt"]
  _save(tmp_path, 35, keep=2)  # resumed from 30: 40 belongs to another course
  assert _names(tmp_path) == ["30", "30.json", "35", "35.json", "note.txt"]
  _save(tmp_path, 35, keep=1)  # saved again: never into the directory that the manifest refers to
  assert _names(tmp_path) == ["35.1", "35.json", "note.txt"]
  _save(tmp_path, 35, keep=1)
  assert _names(tmp_path) == ["35", "35.json", "note.txt"]
  assert _restore(tmp_path).progress == {"step": 35}


def _wrap(guarded, function):
  return lambda *args, **kwargs: guarded(function, *args, **kwargs)


def test_a_stop_at_each_file_operation_of_the_commit(tmp_path, monkeypatch):
  """keep=1, and all stops before the k-th fsync, rename, unlink or rmtree: the old or the new step is whole."""
  read = manifest._sha256
  monkeypatch.setattr(manifest, "_sha256", lambda path, sync=False: read(path))  # without one fsync for each file
  outcomes = []
  for k in range(6):
    directory, calls = tmp_path / str(k), itertools.count()
    _save(directory, 1, keep=1)

    def guarded(function, *args, calls=calls, k=k, **kwargs):
      if next(calls) >= k:
        raise OSError("stopped")
      return function(*args, **kwargs)

    with monkeypatch.context() as patch:
      checkpoints = Checkpoints(directory, keep=1)
      commit, wait = checkpoints._commit, checkpoints._orbax.wait_until_finished

      def from_here_on(*args, patch=patch, commit=commit, wait=wait, guarded=guarded):
        wait()  # orbax's own part is over
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (shutil, "rmtree")):
          patch.setattr(owner, name, _wrap(guarded, getattr(owner, name)))
        commit(*args)

      patch.setattr(checkpoints, "_commit", from_here_on)
      checkpoints.save(2, _state(2), {})
      with contextlib.nullcontext() if k == 5 else pytest.raises(CheckpointError, match="stopped"):
        checkpoints.close()
    restored = _restore(directory)
    _assert_same(restored.state, _state(restored.step))
    outcomes.append(restored.step)
    _save(directory, 3, keep=1)
    assert _names(directory) == ["3", "3.json"]
  assert outcomes == [1, 1, 2, 2, 2, 2]  # the rename is what commits


_SAVE_LOOP = """
import os, sys
import jax, jax.numpy as jnp
from common.training.checkpoint import Checkpoints, NoCheckpointError
make = lambda step: {"a": jnp.full((300, 300), step, jnp.float32), "step": jnp.asarray(step)}
with Checkpoints(sys.argv[1], keep=int(sys.argv[2])) as checkpoints:
  try:
    start = checkpoints.restore(make(0)).step
  except NoCheckpointError:
    start = 0
  checkpoints.warm_up().result()  # the time to the kill is one of saves
  print("ready", *(name for name in os.listdir(sys.argv[1]) if "tmp" in name), flush=True)
  for step in range(start + 1, 10**6):
    checkpoints.save(step, make(step), {"step": step})
"""


def _environment(**more: str) -> dict[str, str]:
  return {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", **more}


def test_kill_9_in_a_save_loop(tmp_path):
  rng, last = random.Random(1), 0
  for trial in range(5):
    keep = 1 + trial % 2
    command = [sys.executable, "-c", _SAVE_LOOP, str(tmp_path), str(keep)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment()) as process:
      assert process.stdout is not None
      assert process.stdout.readline() == "ready\n"  # and no leftover: this writer cleaned up when it opened
      time.sleep(0.3 + rng.uniform(0.0, 0.3))
      process.kill()
    like = {"a": jnp.zeros((300, 300)), "step": jnp.asarray(0)}
    with Checkpoints(tmp_path, keep=keep, read_only=True) as checkpoints:
      restored = checkpoints.restore(like)
    assert restored.step == int(restored.state["step"]) == restored.progress["step"] > last
    assert (np.asarray(restored.state["a"]) == restored.step).all()
    assert len(_names(tmp_path)) <= 2 * (keep + 1) + 2
    last = restored.step


def test_mismatch_names_paths_shapes_and_dtypes(tmp_path):
  _save(tmp_path, 1)
  with Checkpoints(tmp_path, keep=1, read_only=True) as checkpoints:
    state = _state()
    wider = (
      r"params/conv/kernel: stored float32\[6, 4\], model float32\[5, 4\].*and 1 more.*the commit in the run's versions"
    )
    with pytest.raises(CheckpointError, match=wider):
      checkpoints.restore(_state(width=5).replace(step=jnp.zeros(2, jnp.int32)))
    half = state.replace(params={**state.params, "half": state.params["half"].astype(jnp.float32)})
    with pytest.raises(CheckpointError, match=r"params/half: stored bfloat16\[3, 5\], model float32\[3, 5\]"):
      checkpoints.restore(half)
    with pytest.raises(CheckpointError, match=r"ema/w: stored not, model float32\[2\]"):
      checkpoints.restore(state.replace(ema={"w": jnp.zeros(2)}))
    with pytest.raises(CheckpointError, match=r"ema_mutable/mean: stored not.*read it with commit 86c43a4, or train"):
      checkpoints.restore(state.replace(ema={"ema_mutable": {"mean": jnp.zeros(2)}}))
    fewer = {name: leaf for name, leaf in state.params.items() if name != "mask"}
    with pytest.raises(CheckpointError, match=r"params/mask: stored bool\[7\], model has none"):
      checkpoints.restore(state.replace(params=fewer))


def test_failed_save_surfaces_and_the_next_works(tmp_path):
  big = {"a": jnp.asarray(np.random.default_rng(0).normal(size=(1000, 500)), jnp.float32)}
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  with Checkpoints(tmp_path, keep=1) as checkpoints:
    checkpoints.save(1, big, {})
    checkpoints.wait()
    for surfaces in (checkpoints.wait, lambda: checkpoints.save(3, big, {})):
      resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))  # write() fails past 1 MB, as on a full disk
      try:
        checkpoints.save(2, big, {})
        with pytest.raises(CheckpointError, match=f"saving step 2 to {tmp_path} failed"):
          surfaces()
      finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
      checkpoints.wait()  # told once
      assert checkpoints.restore(big).step == 1
    checkpoints.save(4, big, {})
  assert _names(tmp_path) == ["4", "4.json"]


def test_failure_at_the_end_is_not_lost(tmp_path, monkeypatch):
  def fail(*_, **__):
    raise OSError("no space left")

  monkeypatch.setattr("common.training.manifest.write", fail)
  with pytest.raises(CheckpointError, match="no space left"), Checkpoints(tmp_path, keep=1) as checkpoints:
    checkpoints.save(1, _state(), {})
  with pytest.raises(KeyError) as error, Checkpoints(tmp_path, keep=1) as checkpoints:
    checkpoints.save(1, _state(), {})
    raise KeyError("what stopped the run")
  assert "no space left" in error.value.__notes__[0]


def test_disk_space_is_checked_first(tmp_path, monkeypatch):
  usage = shutil.disk_usage(tmp_path)._replace(free=10)
  monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
  refusal = rf"{tmp_path} has 10 bytes free .* step 1 needs \d+"
  with Checkpoints(tmp_path, keep=1) as checkpoints, pytest.raises(CheckpointError, match=refusal):
    checkpoints.save(1, _state(), {})
  assert _names(tmp_path) == []


def test_readers_change_nothing(tmp_path):
  _save(tmp_path, 1)
  (tmp_path / "2.orbax-checkpoint-tmp").mkdir()
  (tmp_path / "2.json.tmp").touch()
  before = _names(tmp_path)
  with Checkpoints(tmp_path, keep=1, read_only=True) as checkpoints:
    assert checkpoints.steps() == [1] and checkpoints.restore(_state()).step == 1
    assert checkpoints.reached_preemption(1) is False
    with pytest.raises(CheckpointError, match="read-only"):
      checkpoints.save(2, _state(), {})
  assert _names(tmp_path) == before
  Checkpoints(tmp_path, keep=1).close()  # a writer cleans up as it opens
  assert _names(tmp_path) == ["1", "1.json"]


def test_a_reader_takes_the_next_where_the_writer_deletes_what_it_reads(tmp_path, monkeypatch):
  _save(tmp_path, 1)
  match, read = checkpoint._match, []

  def overtaken(path, *rest):
    if not read:
      _save(tmp_path, 2, keep=1)
    read.append(path)
    match(path, *rest)

  monkeypatch.setattr(checkpoint, "_match", overtaken)
  assert _restore(tmp_path).step == 2
  assert len(read) == 2 and not read[0].exists()


def test_a_reader_looks_again_where_the_writer_deletes_what_it_verifies(tmp_path, monkeypatch):
  _save(tmp_path, 1, 2, keep=2)
  (tmp_path / "2.json").rename(tmp_path / "later")  # its save goes on
  read = manifest._sha256

  def overtaken(path, sync=False):
    if (tmp_path / "later").exists():
      (tmp_path / "later").rename(tmp_path / "2.json")
      (tmp_path / "1.json").unlink()
      path.unlink()  # and the rest of 1/ follows
    return read(path, sync)

  monkeypatch.setattr(manifest, "_sha256", overtaken)
  assert _restore(tmp_path).step == 2


def test_after_a_fallback_the_damaged_step_does_not_count_as_kept(tmp_path):
  _save(tmp_path, 10, 20, 30)
  (tmp_path / "30" / "_METADATA").write_text("{}")
  with Checkpoints(tmp_path, keep=2) as checkpoints:
    assert checkpoints.restore(_state()).step == 20
    checkpoints.save(35, _state(35), {})
    checkpoints.wait()
    assert checkpoints.steps() == [20, 35]


def test_manifest_is_json_and_keep_must_be_positive(tmp_path):
  _save(tmp_path, 1)
  manifest = json.loads((tmp_path / "1.json").read_text())["manifest"]
  assert manifest["leaves"]["opt_state/1/0/mu/conv/kernel"] == "float32[6, 4]"
  with pytest.raises(CheckpointError, match="checkpoint.keep=0"):
    Checkpoints(tmp_path, keep=0)


_TWO_PROCESSES = """
import os, signal, sys, time
import jax, jax.numpy as jnp, numpy as np
directory, port, index = sys.argv[1], sys.argv[2], int(sys.argv[3])
said = open(f"{directory}-{index}.txt", "w")  # stdout has Gloo's messages, which come from another thread
jax.distributed.initialize(f"localhost:{port}", 2, index, initialization_timeout=60)
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from common.training.checkpoint import Checkpoints, CheckpointError, NoCheckpointError
rows = NamedSharding(Mesh(np.asarray(jax.devices()), ("data",)), PartitionSpec("data"))
table = np.arange(12, dtype=np.float32).reshape(4, 3)
make = lambda k: {"a": jax.make_array_from_callback((4, 3), rows, lambda i: table[i] + k)}
with Checkpoints(directory, keep=2) as checkpoints:
  try:
    checkpoints.restore(make(0))
  except NoCheckpointError:
    print("none", file=said)
  for step in (1, 2, 3):
    checkpoints.save(step, make(step), {"process": index})
  checkpoints.wait()
  print(checkpoints.steps(), file=said)
  if index == 0:
    with open(f"{directory}/3.json", "a") as file:
      file.write(" ")
  restored = checkpoints.restore(make(0))
  same = all((np.asarray(x.data) == np.asarray(y.data)).all()
             for x, y in zip(restored.state["a"].addressable_shards, make(2)["a"].addressable_shards))
  print(restored.step, restored.progress, len(restored.skipped), same, file=said)
  try:
    checkpoints.restore(make(0), step=3)
  except CheckpointError as error:
    print(str(error).split(";")[0], file=said)
  if index == 1:
    os.kill(os.getpid(), signal.SIGTERM)
  step = 10
  while not checkpoints.reached_preemption(step):
    step += 1
    time.sleep(0.02)
  checkpoints.save(step, make(step), {})
  checkpoints.wait()
  print(step, checkpoints.restore(make(0)).step == step, checkpoints.steps() == [2, step], file=said)
said.close()
jax.distributed.shutdown()
"""


def test_two_processes(tmp_path):
  command = [sys.executable, "-c", _TWO_PROCESSES, str(tmp_path / "run"), str(free_port())]
  environment = _environment(XLA_FLAGS="--xla_force_host_platform_device_count=2")
  processes = [
    subprocess.Popen([*command, str(i)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for i in range(2)
  ]
  try:
    output = [process.communicate(timeout=90) for process in processes]
  finally:
    for process in processes:
      process.kill()
  assert [process.returncode for process in processes] == [0, 0], output
  first, second = ((tmp_path / f"run-{i}.txt").read_text().splitlines() for i in range(2))
  assert first == second, output
  assert first[:3] == ["none", "[2, 3]", "2 {'process': 0} 1 True"]
  assert first[3].startswith("step 3 cannot be restored: 3.json is damaged")
  assert first[4].endswith("True True")
