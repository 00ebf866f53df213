"""Two processes of two virtual devices each, on this machine, train as one process of four does."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from experiments.command_line.failures import EXIT_INTERRUPTED
from tests.experiments.runs import end, figures, free_port, run, start
from tests.reliability.disturbance import is_training, wait_until

# Forty calls, more than the JAX 0.10 can have in flight across processes without a deadlock.
SETTINGS = ("--config.train.steps_per_call=1", "--config.log.every=5", "--config.samples.every=0")
FOR_EVER = ("--config.train.num_steps=10000000", "--config.evaluate.every=0")


def _start_two(*words: object) -> list["subprocess.Popen[str]"]:
  group = (f"--coordinator=localhost:{free_port()}", "--num_processes=2", "--devices=2")
  return [start("train", *words, *group, f"--process_id={i}") for i in range(2)]


def _wait_for_training(processes: list["subprocess.Popen[str]"], workdir: Path) -> None:
  for process in processes:
    assert wait_until(process, lambda: is_training(workdir)), process.communicate(timeout=60)  # it ended: what it said


def test_two_processes_equal_one(tmp_path):
  words = ("--config=dcgan:tiny", "--config.data.image_size=8", *SETTINGS, "--config.evaluate.every=0")
  processes = _start_two(*words, f"--workdir={tmp_path / 'two'}")
  run("train", *words, f"--workdir={tmp_path / 'one'}", "--devices=4")
  outputs = [end(process) for process in processes]
  assert "done: 40 steps" in outputs[0][1] and "done" not in outputs[1][1]  # process 0 speaks for both
  one, two = figures(tmp_path / "one"), figures(tmp_path / "two")
  assert [line["step"] for line in one] == [line["step"] for line in two]
  # Sums in another order; from there on a GAN goes its own way, so only the first line is close.
  assert two[0] == pytest.approx(one[0], rel=1e-5)
  assert two[-1] == pytest.approx(one[-1], rel=0.05)


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_other(killed, tmp_path):
  processes = _start_two("--config=vae:tiny", *SETTINGS, *FOR_EVER, f"--workdir={tmp_path}")
  _wait_for_training(processes, tmp_path)
  processes[killed].kill()
  begun = time.monotonic()
  end(processes[killed], -signal.SIGKILL)
  survivor = processes[1 - killed]
  try:
    _, err = survivor.communicate(timeout=60)
  finally:
    survivor.kill()
  assert time.monotonic() - begun < 30
  if survivor.returncode == 2:
    assert "error: another process of the run ended: " in err
  else:  # where JAX sees it first, its own words, and its way to end
    assert survivor.returncode == -signal.SIGABRT and "coordination service" in err.lower()


def test_sigterm_to_one_saves_at_one_step_on_both(tmp_path):
  # Several steps a call, evaluations and pictures, as the config has them: the agreed step must be one that is reached.
  words = ("--config=vae:tiny", "--config.train.num_steps=10000000", "--config.log.every=5")
  processes = _start_two(*words, f"--workdir={tmp_path}")
  _wait_for_training(processes, tmp_path)
  processes[1].send_signal(signal.SIGTERM)
  (_, err), _ = [end(process, EXIT_INTERRUPTED) for process in processes]
  stopped = int(err.partition("stopped by a signal at step ")[2].partition(", saved")[0].replace(",", ""))
  assert (tmp_path / "checkpoints" / f"{stopped}.json").exists()
