"""When an alarm is raised, that a pause of the run changes nothing, and that every rule has its metrics."""

import json

import jax
import numpy as np
import pytest

from common.algorithm import Alarm
from common.evaluation.validation import Validation, evaluated_run
from common.parallel import make_mesh
from common.training.alarms import FILE, Watch, message
from common.training.log import Status
from common.training.program import Program, make_state
from experiments import build_algorithm
from tests.tiny import CONFIGS, batch_of, config_of, dataset_of
from vae.vae import VAE

HIGH = Alarm("too high", ("train/loss",), lambda loss: loss.min() > 1.0, 30, "patience")


def watch(workdir, *alarms, lines=()):
  (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
  return Watch(alarms, workdir, enabled=True)


def steps_of(judge, losses, every=10, split="train"):
  """Returns the steps at which these values, ``every`` steps apart, raise an alarm."""
  lines = ((every * (i + 1), split, {"loss": x}) for i, x in enumerate(losses))
  return [raised["step"] for line in lines for raised in judge(*line)]


@pytest.mark.parametrize(
  ("losses", "every", "split", "steps"),
  [
    ([2, 2, 2, 2, 2, 0, 2, 2, 2, 2, 2], 10, "train", [30, 90]),  # anew only after a line on which it did not hold
    ([2, 2], 10, "train", []),  # within the first window
    ([2, 0, 2, 2], 100, "train", [400]),  # a window that holds one line takes the line before it as well
    ([2, 2, 2, 2], 10, "validation", []),
  ],
)
def test_an_alarm_is_raised_when_its_rule_begins_to_hold(losses, every, split, steps, tmp_path):
  judge = watch(tmp_path, HIGH)
  assert steps_of(judge, losses, every, split) == steps
  assert [json.loads(line)["step"] for line in (tmp_path / FILE).read_text().splitlines()] == steps
  assert watch(tmp_path, HIGH)(50, "train", {"other": 2.0}) == []


def test_an_alarm_on_two_splits_is_judged_on_lines_of_either(tmp_path):
  both = Alarm("apart", ("train/loss", "validation/loss"), lambda a, b: b.mean() > a.mean(), 20, "more data")
  judge = watch(tmp_path, both)
  told = [judge(step, split, {"loss": x}) for step in (10, 20) for split, x in (("train", 1.0), ("validation", 2.0))]
  assert [len(raised) for raised in told] == [0, 0, 0, 1]
  means = {"train/loss": 1.0, "validation/loss": 2.0}
  record = {"step": 20, "signal": "apart", "values": means, "window": 20, "remedy": "more data"}
  assert told[-1] == [record] == [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
  assert message(record) == (
    "alarm at step 20: apart (train/loss 1, validation/loss 2 over the last 20 steps); usual remedies: more data"
  )


def test_a_resumed_run_has_the_alarms_of_one_without_a_pause(tmp_path):
  losses = [2, 2, 2, 2, 0, 2, 2, 2, 2]
  steps_of(watch(tmp_path, HIGH), losses)
  whole = (tmp_path / FILE).read_bytes()
  for pause in range(len(losses)):
    lines = [{"step": 10 * i + 10, "split": "train", "loss": x} for i, x in enumerate(losses[:pause])]
    judge = watch(tmp_path, HIGH, lines=lines)  # the longer run's file is there: its later lines are removed
    for i, loss in list(enumerate(losses))[pause:]:
      judge(10 * i + 10, "train", {"loss": loss})
    assert (tmp_path / FILE).read_bytes() == whole, pause


def test_a_process_that_does_not_write_judges_nothing(tmp_path):
  assert steps_of(Watch([HIGH], tmp_path, enabled=False), [2, 2, 2, 2]) == []
  assert not (tmp_path / FILE).exists()


def test_the_trainer_tells_of_alarms_and_goes_on(tmp_path, monkeypatch, capfd):
  """On lines of both kinds, in the file to the bit after a pause, with the last, shorter line left out."""
  always = [
    Alarm(f"{split} looks odd", (f"{split}/rate",), lambda rate: rate.min() > -1.0, 20, "none")
    for split in ("train", "validation")
  ]
  monkeypatch.setattr(VAE, "alarms", tuple(always))
  monkeypatch.setattr(Validation, "__call__", lambda self, state: {"rate": 1.0})  # compiles nothing
  intervals = {"log__every": 10, "checkpoint__every": 10, "evaluate__every": 10, "samples__every": 0}
  config, dataset = config_of("vae:digits,tiny", checkpoint__keep_best="", **intervals), dataset_of("vae:digits,tiny")
  program = Program(build_algorithm(config, dataset.spec), dataset, config, make_mesh(1))

  def train(workdir, steps):
    config.train.num_steps = steps
    run = evaluated_run(program, workdir, Status(enabled=True))
    run.run()
    run.close()
    return run.step, (workdir / FILE).read_text()

  step, straight = train(tmp_path / "straight", 30)
  assert step == 30
  assert [json.loads(line)["step"] for line in straight.splitlines()] == [20, 20]
  told = capfd.readouterr().err
  assert told.count("alarm at step 20: train looks odd") == told.count("alarm at step 20: validation looks odd") == 1
  assert train(tmp_path / "paused", 15)[1] == ""
  assert train(tmp_path / "paused", 30)[1] == straight


@pytest.mark.parametrize("variant", [*CONFIGS, "wgan_gp:digits,tiny", "vae:digits,gated,tiny"])
def test_every_rule_has_its_metrics(variant):
  config, dataset = config_of(variant), dataset_of(variant)
  algorithm = build_algorithm(config, dataset.spec)
  batch = batch_of(dataset, (16,) if algorithm.batches_per_step is None else (algorithm.batches_per_step, 16))
  state, rng = jax.eval_shape(lambda: make_state(algorithm, dataset.spec, 0)), jax.random.key(0)
  held_out = {**batch_of(dataset, (16,)), "mask": np.ones(16, np.float32)}
  _, trained = jax.eval_shape(algorithm.train_step, state, batch, rng)
  scores = jax.eval_shape(algorithm.eval_step, state, held_out, rng)
  means = {name: np.ones(mean.total.shape).tolist() for name, mean in scores.items()}
  logged = {f"train/{name}" for name in trained}
  logged |= {f"validation/{name}" for name in {**means, **algorithm.summarize(means)}}
  assert config.family == "classifier" or len(algorithm.alarms) >= 2
  assert len({alarm.signal for alarm in algorithm.alarms}) == len(algorithm.alarms)
  for alarm in algorithm.alarms:
    assert set(alarm.metrics) <= logged, alarm.signal
    assert alarm.rule(*[np.array([0.5, 0.5])] * len(alarm.metrics)) in (True, False)
