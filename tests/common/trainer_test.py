"""The loop: what it refuses, what it saves in which order, and that it compiles once."""

import math

import pytest

from common.build import ConfigError
from common.log import Status
from common.parallel import make_mesh
from common.program import Program
from common.trainer import NonFiniteError, Run
from experiments import build_algorithm
from tests.tiny import config_of, dataset_of

VARIANT = "vae:digits,tiny"
QUIET = Status(enabled=False)


def _program(**changes):
  changes = {"train__num_steps": 20, "samples__every": 0, "log__every": 5, **changes}
  config, dataset = config_of(VARIANT, **changes), dataset_of(VARIANT)
  return Program(build_algorithm(config, dataset.spec), dataset, config, make_mesh(1))


def _run(program, workdir):
  return Run(program, workdir, QUIET, lambda init: init())


@pytest.fixture(scope="module")
def program():
  return _program(evaluate__every=10, checkpoint__every=10)


def test_one_compilation_for_all_calls(program, tmp_path):
  run = _run(program, tmp_path)
  run.run()
  run.close()
  assert (run.step, run.checkpoints.steps(), run.best.steps() != []) == (20, [10, 20], True)
  assert program.train_call._cache_size() == 1


def test_a_step_between_calls_is_refused_before_training(program, tmp_path):
  # Else no later step would ever meet an interval, and the run would log and save nothing more.
  run = _run(program, tmp_path)
  run.run()
  run.close()
  intervals = {"train__num_steps": 40, "log__every": 8, "checkpoint__every": 8, "evaluate__every": 0}
  with pytest.raises(ConfigError, match=r"steps_per_call=8 does not divide step 20.*steps_per_call=4"):
    _run(_program(train__steps_per_call=8, **intervals), tmp_path)


def test_the_best_is_on_disk_before_a_checkpoint_counts_on_it(program, tmp_path, monkeypatch):
  run = _run(program, tmp_path)
  save, seen = run.checkpoints.save, []

  def watch(step, state, progress):
    seen.append((progress["best_step"], run.best.steps()))
    save(step, state, progress)

  monkeypatch.setattr(run.checkpoints, "save", watch)
  run.run()
  run.close()
  assert [best for best, _ in seen] == [10, 20]
  assert all(best in steps for best, steps in seen)


def test_a_score_that_is_not_finite_stops_the_run(program, tmp_path, monkeypatch):
  run = _run(program, tmp_path)
  monkeypatch.setattr(run, "evaluator", lambda state, feed: {"elbo": math.nan, "rate": 1.0})
  with pytest.raises(NonFiniteError, match="validation elbo is nan at step 10"):
    run.run()
  run.close()
  assert run.checkpoints.steps() == []
