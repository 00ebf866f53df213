"""Kills, stops and damages runs, and shows that nothing is lost: python -m experiments.reliability --workdir=DIR

Trains a tiny GAN and a tiny VAE undisturbed. Then starts them again, kills them with SIGKILL (every other time inside a
save) or stops them with SIGTERM (every other time twice), and goes on with the same command: the final state and
metrics.jsonl must equal the undisturbed run's to the bit. Last, flips bits and cuts files of a checkpoint: each must be
found, and the checkpoint before it used. Exits with 1 if one fails.
"""

import functools
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from absl import flags

from common.training.checkpoint import CheckpointError, Checkpoints
from experiments import ROOT
from experiments.command_line import flags as command_line
from experiments.command_line.failures import EXIT_INTERRUPTED

CONFIGS = {"GAN": "dcgan:tiny", "VAE": "vae:tiny"}
# Twenty saves in a few seconds.
OFTEN = ("train.num_steps=200", "checkpoint.every=10", "log.every=5", "evaluate.every=50", "samples.every=100")
TIME_LIMIT = 600.0


def define_flags() -> None:
  flags.DEFINE_string("workdir", "", "where the runs go; must be new")
  flags.DEFINE_integer("kills", 20, "runs to kill", lower_bound=0)
  flags.DEFINE_integer("sigterms", 10, "runs to stop", lower_bound=0)
  flags.DEFINE_integer("damages", 50, "damages to plant", lower_bound=0)
  flags.DEFINE_integer("seed", 0, "seed of the moments and damages")


class Fingerprint(NamedTuple):
  """What two runs must agree on: the last step, the sha256 of all its leaves, and of metrics.jsonl."""

  step: int
  state: str
  metrics: str


def fingerprint(workdir: Path) -> Fingerprint:
  """Of the last checkpoint in ``workdir``, read as any reader would."""
  import jax
  import numpy as np

  from common.parallel import make_mesh
  from experiments.restore import restore

  run, digest = restore(workdir, "last", make_mesh()), hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(run.state):
    digest.update(f"{path} {leaf.dtype} {leaf.shape}".encode() + np.asarray(leaf).tobytes())
  return Fingerprint(run.step, digest.hexdigest(), hashlib.sha256((workdir / "metrics.jsonl").read_bytes()).hexdigest())


def start(workdir: Path, config: str) -> "subprocess.Popen[bytes]":
  """Starts training in a process of its own; its words go to ``workdir``.log, and compiled steps are shared."""
  words = [f"--config={config}", f"--workdir={workdir}", *(f"--config.{setting}" for setting in OFTEN)]
  environment = {
    "JAX_COMPILATION_CACHE_DIR": str(workdir.parent / "compiled"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "JAX_PLATFORMS": "cpu",
  }
  with workdir.with_suffix(".log").open("ab") as log:
    command = [sys.executable, "-W", "error", "-m", "experiments.train", *words]
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def finish(workdir: Path, config: str) -> None:
  """Trains to the end by the same command; raises CalledProcessError where it cannot."""
  process = start(workdir, config)
  if code := process.wait(TIME_LIMIT):
    raise subprocess.CalledProcessError(code, process.args, output=workdir.with_suffix(".log").read_text()[-2000:])


def is_training(workdir: Path) -> bool:
  """Whether the first line of figures is out: signals are watched from there on."""
  timing = workdir / "timing.jsonl"
  return timing.exists() and timing.stat().st_size > 0


def is_saving(workdir: Path) -> bool:
  """Whether a checkpoint is being written: anything of a step whose manifest is not there."""
  names = {path.name for path in (workdir / "checkpoints").glob("*")}
  return any(f"{name.partition('.')[0]}.json" not in names for name in names)


def wait_until(process: "subprocess.Popen[bytes]", condition: Callable[[], bool]) -> bool:
  """Whether the condition came true before the process ended."""
  limit = time.monotonic() + TIME_LIMIT
  while process.poll() is None and time.monotonic() < limit:
    if condition():
      return True
    time.sleep(0.001)
  return False


def disturb(workdir: Path, config: str, number: signal.Signals, *, after: float, saving: bool, times: int = 1) -> int:
  """Starts a run and signals it.

  Args:
    workdir: a new one.
    config: as --config takes it.
    number: the signal.
    after: seconds from the first line of figures, or from the start of the process where negative.
    saving: whether to wait on for the next save.
    times: how many signals, 50 ms apart.

  Returns:
    The exit code; 0 if the run had reported its end, so that the signal came too late to count.
  """
  process = start(workdir, config)
  if after >= 0:
    wait_until(process, lambda: is_training(workdir))
  moment = time.monotonic() + abs(after)
  if wait_until(process, lambda: time.monotonic() >= moment and (not saving or is_saving(workdir))):
    for _ in range(times):
      process.send_signal(number)
      time.sleep(0.05)
  code = process.wait(TIME_LIMIT)
  return 0 if b" done: " in workdir.with_suffix(".log").read_bytes() else code


def damage(directory: Path, step: int, rng: random.Random) -> str:
  """Flips a bit of, or cuts, one file of a step's checkpoint; says which."""
  files = [path for path in [directory / f"{step}.json", *(directory / str(step)).rglob("*")] if path.is_file()]
  file = rng.choice([path for path in files if path.stat().st_size])
  data = bytearray(file.read_bytes())
  place = rng.randrange(len(data))
  if rng.random() < 0.5:
    data[place] ^= 1 << rng.randrange(8)
  else:
    del data[place:]
  file.write_bytes(data)
  return f"{file.relative_to(directory)} at byte {place}"


def damage_is_found(workdir: Path, rng: random.Random) -> bool:
  """Plants a damage in a copy of the last checkpoint: it must be named, and the one before it restored."""
  from common.parallel import make_mesh
  from experiments.restore import restore

  run, scratch = restore(workdir, "last", make_mesh()), workdir / "damaged"
  shutil.copytree(workdir / "checkpoints", scratch)
  planted = damage(scratch, run.step, rng)
  try:
    with Checkpoints(scratch, keep=1, read_only=True) as checkpoints:
      found = checkpoints.restore(run.state)
    return found.step < run.step and len(found.skipped) == 1
  except CheckpointError as error:
    print(f"damage to {planted}: {error}")
    return False
  finally:
    shutil.rmtree(scratch)


def main() -> int:
  command_line.required("workdir")
  root, rng, begun = Path(flags.FLAGS.workdir).absolute(), random.Random(flags.FLAGS.seed), time.monotonic()
  command_line.make_directory("workdir", root)
  expected, seconds = {}, {}
  for name, config in CONFIGS.items():
    finish(root / name, config)  # compiles
    again = root / f"{name}-again"
    process = start(again, config)
    wait_until(process, functools.partial(is_training, again))
    first_line = time.monotonic()
    process.wait(TIME_LIMIT)
    seconds[name] = time.monotonic() - first_line
    expected[name] = fingerprint(root / name)
    if fingerprint(again) != expected[name]:
      raise AssertionError(f"two undisturbed runs of {config} differ: nothing can be compared")
    print(f"{name} ({config}): two undisturbed runs agree; {seconds[name]:.1f} s of training each", flush=True)

  def survives(trial: int, number: signal.Signals, code: int) -> bool:
    name, saving = list(CONFIGS)[trial % 2], trial // 2 % 2 == 1
    workdir, ended = root / f"{name}-{number.name}-{trial}", 0
    while ended == 0:  # else the signal came too late
      shutil.rmtree(workdir, ignore_errors=True)
      workdir.with_suffix(".log").unlink(missing_ok=True)
      after, times = rng.uniform(0.0, 0.9 * seconds[name]), 1 + (number == signal.SIGTERM and saving)
      ended = disturb(workdir, CONFIGS[name], number, after=after, saving=saving, times=times)
    finish(workdir, CONFIGS[name])
    same = fingerprint(workdir) == expected[name]
    where = "inside a save" if saving else "anywhere"
    print(f"{workdir.name}: {where}, exit code {ended}, {'same bits' if same else 'DIFFERENT'}", flush=True)
    return ended == code and same

  kills, stops, damages = flags.FLAGS.kills, flags.FLAGS.sigterms, flags.FLAGS.damages
  survived = sum(survives(trial, signal.SIGKILL, -signal.SIGKILL) for trial in range(kills))
  stopped = sum(survives(trial, signal.SIGTERM, EXIT_INTERRUPTED) for trial in range(stops))
  found = sum(damage_is_found(root / list(CONFIGS)[i % 2], rng) for i in range(damages))
  print(f"kill -9: {survived} of {kills} bit-identical")
  print(f"SIGTERM: {stopped} of {stops} exit with {EXIT_INTERRUPTED} and bit-identical")
  print(f"bit flips and truncations: {found} of {damages} found")
  print(f"{(time.monotonic() - begun) / 60:.1f} minutes")
  return int((survived, stopped, found) != (kills, stops, damages))


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
