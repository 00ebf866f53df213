"""Checkpoints are restored to the bit and on other devices; full disks, other models and readers are handled."""

import json
import math
import os
import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from common.training.checkpoint import CheckpointError, Checkpoints
from tests.common.training.saved import assert_same, names, restore, save, shapes_like, state_of
from tests.experiments.runs import free_port

ROOT = Path(__file__).resolve().parents[3]


def test_round_trip_to_the_bit(tmp_path):
  progress = {"best": 0.1 + 0.2, "tiny": 5e-324, "inf": math.inf, "zero": -0.0, "sums": [1 / 3, 2**53 + 1], "name": "é"}
  progress = {**progress, **{str(i): random.Random(i).uniform(-1, 1) * 10.0**i for i in range(-300, 300, 7)}}
  with Checkpoints(tmp_path, keep=2) as checkpoints:
    checkpoints.save(7, state_of(7), progress)
    restored = checkpoints.restore(state_of(0))  # arrays will do in place of ShapeDtypeStructs
  assert_same(restored.state, state_of(7))
  assert (restored.step, restored.skipped) == (7, ())
  assert repr(restored.progress) == repr(progress)
  record = json.loads((tmp_path / "7.json").read_text())["manifest"]
  assert record["leaves"]["opt_state/1/0/mu/conv/kernel"] == "float32[6, 4]"


def test_progress_is_taken_at_the_call_and_must_be_json(tmp_path):
  with Checkpoints(tmp_path, keep=1) as checkpoints:
    progress = {"sums": [1.0]}
    checkpoints.save(1, state_of(), progress)
    progress["sums"].append(2.0)
    assert checkpoints.restore(state_of()).progress == {"sums": [1.0]}
    with pytest.raises(TypeError, match="float32"):
      checkpoints.save(2, state_of(), {"loss": np.float32(1.0)})
  with pytest.raises(CheckpointError, match="checkpoint.keep=0"):
    Checkpoints(tmp_path, keep=0)


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
        assert_same(restored, expected)
        # What was restored may be donated too.
        assert_same(train_step(restored), jax.tree.map(lambda x: x + 1, expected))


def test_saved_on_8_devices_restored_on_1_and_3(tmp_path):
  devices = jax.devices()
  everywhere = NamedSharding(Mesh(np.asarray(devices), ("data",)), PartitionSpec())
  split = NamedSharding(Mesh(np.asarray(devices), ("data",)), PartitionSpec("data"))
  rows = jnp.arange(48.0).reshape(24, 2)
  state = {"net": jax.device_put(state_of(3), everywhere), "rows": jax.device_put(rows, split)}
  with Checkpoints(tmp_path, keep=1) as checkpoints:
    checkpoints.save(1, state, {})
    for number in (1, 3):
      mesh = Mesh(np.asarray(devices[:number]), ("data",))
      like = {
        "net": shapes_like(state_of(), NamedSharding(mesh, PartitionSpec())),
        "rows": shapes_like(rows, NamedSharding(mesh, PartitionSpec("data"))),
      }
      restored = checkpoints.restore(like).state
      assert_same(restored, {"net": state_of(3), "rows": rows})
      assert len(restored["rows"].sharding.device_set) == number


def test_keep_and_abandoned_later_steps(tmp_path):
  save(tmp_path, 10, 20, 30, 40, keep=3)
  (tmp_path / "note.txt").write_text("mine")
  assert names(tmp_path) == ["20", "20.json", "30", "30.json", "40", "40.json", "note.txt"]
  save(tmp_path, 35, keep=2)  # resumed from 30: 40 belongs to another course
  assert names(tmp_path) == ["30", "30.json", "35", "35.json", "note.txt"]
  save(tmp_path, 35, keep=1)  # saved again: never into the directory that the manifest refers to
  assert names(tmp_path) == ["35.1", "35.json", "note.txt"]
  save(tmp_path, 35, keep=1)
  assert names(tmp_path) == ["35", "35.json", "note.txt"]
  assert restore(tmp_path).progress == {"step": 35}


def test_a_mismatch_names_paths_shapes_and_dtypes(tmp_path):
  save(tmp_path, 1)
  state = state_of()
  others = {
    r"params/conv/kernel: stored float32\[6, 4\], model float32\[5, 4\].*and 1 more.*the commit in the run's": (
      state_of(width=5).replace(step=jnp.zeros(2, jnp.int32))
    ),
    r"params/half: stored bfloat16\[3, 5\], model float32\[3, 5\]": (
      state.replace(params={**state.params, "half": state.params["half"].astype(jnp.float32)})
    ),
    r"ema/w: stored not, model float32\[2\]": state.replace(ema={"w": jnp.zeros(2)}),
    r"params/mask: stored bool\[7\], model has none": (
      state.replace(params={name: leaf for name, leaf in state.params.items() if name != "mask"})
    ),
  }
  with Checkpoints(tmp_path, keep=1, read_only=True) as checkpoints:
    for text, other in others.items():
      with pytest.raises(CheckpointError, match=text):
        checkpoints.restore(other)


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
  assert names(tmp_path) == ["4", "4.json"]


def test_failure_at_the_end_is_not_lost(tmp_path, monkeypatch):
  def fail(*_, **__):
    raise OSError("no space left")

  monkeypatch.setattr("common.training.manifest.write", fail)
  with pytest.raises(CheckpointError, match="no space left"), Checkpoints(tmp_path, keep=1) as checkpoints:
    checkpoints.save(1, state_of(), {})
  with pytest.raises(KeyError) as error, Checkpoints(tmp_path, keep=1) as checkpoints:
    checkpoints.save(1, state_of(), {})
    raise KeyError("what stopped the run")
  assert "no space left" in error.value.__notes__[0]


def test_disk_space_is_checked_first(tmp_path, monkeypatch):
  usage = shutil.disk_usage(tmp_path)._replace(free=10)
  monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
  refusal = rf"{tmp_path} has 10 bytes free .* step 1 needs \d+"
  with Checkpoints(tmp_path, keep=1) as checkpoints, pytest.raises(CheckpointError, match=refusal):
    checkpoints.save(1, state_of(), {})
  assert names(tmp_path) == []


def test_readers_change_nothing(tmp_path):
  save(tmp_path, 1)
  (tmp_path / "2.orbax-checkpoint-tmp").mkdir()
  (tmp_path / "2.json.tmp").touch()
  before = names(tmp_path)
  with Checkpoints(tmp_path, keep=1, read_only=True) as checkpoints:
    assert checkpoints.steps() == [1] and checkpoints.restore(state_of()).step == 1
    assert checkpoints.reached_preemption(1) is False
    with pytest.raises(CheckpointError, match="read-only"):
      checkpoints.save(2, state_of(), {})
  assert names(tmp_path) == before
  Checkpoints(tmp_path, keep=1).close()  # a writer cleans up as it opens
  assert names(tmp_path) == ["1", "1.json"]


_TWO_PROCESSES = """
import sys
import jax, numpy as np
directory, port, index = sys.argv[1], sys.argv[2], int(sys.argv[3])
said = open(f"{directory}-{index}.txt", "w")  # stdout has Gloo's messages, which come from another thread
jax.distributed.initialize(f"localhost:{port}", 2, index, initialization_timeout=60)
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from common.training.checkpoint import Checkpoints, CheckpointError, NoCheckpointError
rows = NamedSharding(Mesh(np.asarray(jax.devices()), ("data",)), PartitionSpec("data"))
table = np.arange(12, dtype=np.float32).reshape(4, 3)
make = lambda k: {"a": jax.make_array_from_callback((4, 3), rows, lambda i: table[i] + k)}
shards = lambda state: [np.asarray(shard.data).tolist() for shard in state["a"].addressable_shards]
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
  same = shards(restored.state) == shards(make(2))
  print(restored.step, restored.progress, len(restored.skipped), same, file=said)
  try:
    checkpoints.restore(make(0), step=3)
  except CheckpointError as error:
    print(str(error).split(";")[0], file=said)
said.close()
jax.distributed.shutdown()
"""


def test_two_processes(tmp_path):
  """Process 0 decides for both, also about a damage that only process 0 sees."""
  command = [sys.executable, "-c", _TWO_PROCESSES, str(tmp_path / "run"), str(free_port())]
  environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
  environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
  output = subprocess.PIPE
  processes = [subprocess.Popen([*command, i], env=environment, stdout=output, stderr=output) for i in "01"]
  try:
    said = [process.communicate(timeout=90) for process in processes]
  finally:
    for process in processes:
      process.kill()
  assert [process.returncode for process in processes] == [0, 0], said
  first, second = ((tmp_path / f"run-{i}.txt").read_text().splitlines() for i in range(2))
  assert first == second and first[:3] == ["none", "[2, 3]", "2 {'process': 0} 1 True"], said
  assert first[3].startswith("step 3 cannot be restored: 3.json is damaged")
