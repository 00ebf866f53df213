"""The loop: what it refuses, what it saves in which order, and that it compiles once."""

import gzip
import json
import math
import time
from contextlib import closing

import jax
import numpy as np
import pytest

from common.errors import ConfigError
from common.evaluation.validation import evaluated_run
from common.parallel import make_mesh
from common.training.log import Status
from common.training.program import Program
from common.training.trainer import NonFiniteError, headline
from experiments import build_algorithm
from experiments.command_line.running import to_the_end
from tests.tiny import config_of, dataset_of

VARIANT = "vae:digits,tiny"
QUIET = Status(enabled=False)
EVERY = {"log__every": 10, "checkpoint__every": 10, "evaluate__every": 0}


def _program(**changes):
  changes = {"train__num_steps": 20, "samples__every": 0, "log__every": 5, **changes}
  config, dataset = config_of(VARIANT, **changes), dataset_of(VARIANT)
  return Program(build_algorithm(config, dataset.spec), dataset, config, make_mesh(1))


def _run(program, workdir, status=QUIET, **options):
  return evaluated_run(program, workdir, status, **options)


def _finished(program, workdir, status=QUIET, **options):
  run = _run(program, workdir, status, **options)
  with closing(run):
    run.run()
  return run


@pytest.fixture(scope="module")
def program():
  return _program(evaluate__every=10, checkpoint__every=10)


def test_a_line_for_a_person_has_every_players_loss():
  """Of R3GAN's metrics, in the order of the alphabet, g_loss is the last."""
  names = ["d_augment_p", "d_fake_logit", "d_grad_norm", "d_loss", "d_pair_accuracy", "d_r1", "d_r2", "g_loss"]
  assert headline(dict.fromkeys(names, 0.0))[:2] == ["d_loss", "g_loss"]
  assert headline({"elbo": 1.0, "loss": 1.0, "param_norm": 1.0, "rates": [1.0]}) == ["loss", "elbo"]


def test_one_compilation_for_all_calls(program, tmp_path):
  run = _finished(program, tmp_path)
  assert (run.step, run.checkpoints.steps(), run.best.steps() != []) == (20, [10, 20], True)
  assert program.train_call._cache_size() == 1


def test_a_step_between_calls_is_refused_before_training(program, tmp_path):
  # Otherwise no later step would meet an interval, and the run would log and save nothing more.
  _finished(program, tmp_path)
  intervals = {"train__num_steps": 40, "log__every": 8, "checkpoint__every": 8, "evaluate__every": 0}
  with pytest.raises(ConfigError, match=r"steps_per_call=8 does not divide step 20.*steps_per_call=4"):
    _run(_program(train__steps_per_call=8, **intervals), tmp_path)


def test_what_stopped_the_run_stays_the_error_where_closing_fails_too(program, tmp_path, monkeypatch):
  def fail(text):
    raise RuntimeError(text)

  run, closed = _run(program, tmp_path), []
  monkeypatch.setattr(run, "run", lambda: fail("what stopped it"))
  monkeypatch.setattr(run.checkpoints, "close", lambda: fail("closing"))
  monkeypatch.setattr(run.best, "close", lambda: closed.append("best"))
  with pytest.raises(RuntimeError, match="what stopped it"):
    to_the_end(run, QUIET)
  with pytest.raises(RuntimeError, match="closing"):
    run.close()
  assert closed == ["best"] * 2


def test_the_best_is_on_disk_before_a_checkpoint_counts_on_it(program, tmp_path, monkeypatch):
  run = _run(program, tmp_path)
  save, seen = run.checkpoints.save, []

  def watch(step, state, progress):
    seen.append((progress["best_step"], run.best.steps()))
    save(step, state, progress)

  monkeypatch.setattr(run.checkpoints, "save", watch)
  with closing(run):
    run.run()
  assert [best for best, _ in seen] == [10, 20]
  assert all(best in steps for best, steps in seen)


def _lines(workdir, name="metrics"):
  return [json.loads(line) for line in (workdir / f"{name}.jsonl").read_text().splitlines()]


def _train(workdir, steps, **changes):
  return _finished(_program(train__num_steps=steps, **{**EVERY, **changes}), workdir)


def test_the_last_steps_reach_a_line_and_a_longer_run_takes_it_back(tmp_path):
  run = _train(tmp_path / "cut", 15)
  assert [line["step"] for line in _lines(tmp_path / "cut")] == [10, 15]
  ended = (tmp_path / "cut" / "metrics.jsonl").read_bytes()
  assert _train(tmp_path / "cut", 15).step == run.step and (tmp_path / "cut" / "metrics.jsonl").read_bytes() == ended
  cut, straight = _train(tmp_path / "cut", 30), _train(tmp_path / "straight", 30)
  assert _lines(tmp_path / "cut") == _lines(tmp_path / "straight")
  assert [line["step"] for line in _lines(tmp_path / "cut")] == [10, 20, 30]
  jax.tree.map(np.testing.assert_array_equal, cut.state, straight.state)
  # The line is the mean over its steps: with one line a call, the means of the calls average to it.
  _train(tmp_path / "fine", 15, log__every=5)
  by_call = [line["loss"] for line in _lines(tmp_path / "fine")]
  coarse = [json.loads(line)["loss"] for line in ended.decode().splitlines()]
  assert coarse == pytest.approx([np.mean(by_call[:2]), by_call[2]], rel=1e-12)


def test_a_profile_holds_its_steps_and_changes_no_bit(tmp_path, capfd):
  plain = _train(tmp_path / "plain", 20)
  run = _finished(_program(**EVERY), tmp_path / "traced", Status(enabled=True), profile=(5, 15))
  jax.tree.map(np.testing.assert_array_equal, plain.state, run.state)
  assert _lines(tmp_path / "plain") == _lines(tmp_path / "traced")
  assert "trace of the steps 6 to 15" in capfd.readouterr().err
  (trace,) = (tmp_path / "traced" / "profile").rglob("*.trace.json.gz")
  with gzip.open(trace, "rt") as file:
    events = [event for event in json.load(file)["traceEvents"] if "name" in event]
  calls = [int(event["args"]["step_num"]) for event in events if event["name"] == "train_call"]
  assert calls == [5, 10]
  assert not any("backend_compile" in event["name"] for event in events)


def test_a_profile_is_not_used_where_the_run_goes_on_later(tmp_path, capfd):
  _train(tmp_path, 10)
  _finished(_program(**EVERY), tmp_path, Status(enabled=True), profile=(10, 15))
  assert "--profile=10:15 is not used: the run goes on from step 10" in capfd.readouterr().err
  assert not (tmp_path / "profile").exists()


def test_stall_tells_a_slow_host_from_a_slow_device(tmp_path, monkeypatch):
  # Steps of some milliseconds, where a call's own work on the host takes less than one.
  program = _program(**EVERY, model__width=1024, optim__learning_rate=1e-6)
  _finished(program, tmp_path / "device")

  def slow_feed(step, feed=program.feed):
    time.sleep(0.5)
    return feed(step)

  slow_feed.data = program.feed.data
  monkeypatch.setattr(program, "feed", slow_feed)
  _finished(program, tmp_path / "host")
  slow_device, slow_host = (_lines(tmp_path / name, "timing")[-1]["stall"] for name in ("device", "host"))
  assert slow_device < 0.5 and slow_host > 0.8, (slow_device, slow_host)


def test_a_score_that_is_not_finite_stops_the_run(program, tmp_path):
  run = _run(program, tmp_path)
  run.validate = lambda state: {"elbo": math.nan, "rate": 1.0}
  with closing(run), pytest.raises(NonFiniteError, match="validation elbo is nan at step 10"):
    run.run()
  assert run.checkpoints.steps() == []
