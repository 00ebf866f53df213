"""When an alarm is raised, that a pause of the run changes nothing, and that every rule has its metrics."""

import json

import jax
import numpy as np
import pytest

from common.algorithm import Alarm
from common.evaluation.validation import Validation, evaluated_run
from common.parallel import make_mesh
from common.training.alarms import FILE, Watch
from common.training.log import Status
from common.training.program import Program, make_state
from experiments import build_algorithm
from tests.tiny import CONFIGS, batch_of, config_of, dataset_of
from vae.vae import VAE

HIGH = Alarm("too high", ("train/loss",), lambda loss: loss.min() > 1.0, 30, "patience")


def watch(workdir, *alarms, lines=()):
  (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
  return Watch(alarms, workdir, enabled=True)


def written(workdir):
  return [json.loads(line) for line in (workdir / FILE).read_text().splitlines()]


def steps_of(judge, losses, split="train"):
  """The steps, ten apart, at which these values raise an alarm."""
  return [raised.step for i, x in enumerate(losses) for raised in judge(10 * i + 10, split, {"loss": x})]


def test_an_alarm_is_raised_when_its_rule_begins_to_hold(tmp_path):
  """On all lines of a window, and anew only after a line on which it did not."""
  judge = watch(tmp_path, HIGH)
  assert steps_of(judge, [2, 2, 2, 2, 2, 0, 2, 2, 2, 2, 2]) == [30, 90]
  assert [line["step"] for line in written(tmp_path)] == [30, 90]


def test_nothing_is_judged_within_the_first_window_nor_on_one_line(tmp_path):
  assert steps_of(watch(tmp_path, HIGH), [2, 2]) == []
  judge = watch(tmp_path, HIGH)
  # A window's 30 steps hold one line of every hundredth step: the one before counts too.
  found = [judge(step, "train", {"loss": x}) for step, x in ((100, 2.0), (200, 0.0), (300, 2.0), (400, 2.0))]
  assert [len(raised) for raised in found] == [0, 0, 0, 1]


def test_lines_of_other_splits_and_without_the_metric_do_not_count(tmp_path):
  judge = watch(tmp_path, HIGH)
  assert steps_of(judge, [2, 2, 2, 2], split="validation") == []
  assert judge(50, "train", {"other": 2.0}) == []


def test_an_alarm_of_two_splits_is_judged_on_either(tmp_path):
  both = Alarm("apart", ("train/loss", "validation/loss"), lambda a, b: b.mean() > a.mean(), 20, "more data")
  judge = watch(tmp_path, both)
  told = [judge(step, split, {"loss": x}) for step in (10, 20) for split, x in (("train", 1.0), ("validation", 2.0))]
  assert [len(raised) for raised in told] == [0, 0, 0, 1]
  assert told[-1][0].values == {"train/loss": 1.0, "validation/loss": 2.0}


def test_a_text_names_signal_values_and_remedy(tmp_path):
  judge = watch(tmp_path, HIGH)
  (raised,) = [judge(10 * i, "train", {"loss": 1.0 + i}) for i in (1, 2, 3)][-1]
  text = "alarm at step 30: too high (train/loss 3 over the last 30 steps); usual remedies: patience"
  assert raised.text == text
  assert written(tmp_path) == [
    {"step": 30, "signal": "too high", "values": {"train/loss": 3.0}, "window": 30, "remedy": "patience"}
  ]


def test_a_run_that_goes_on_has_the_alarms_of_one_without_a_pause(tmp_path):
  losses = [2, 2, 2, 2, 0, 2, 2, 2, 2]
  steps_of(watch(tmp_path, HIGH), losses)
  whole = (tmp_path / FILE).read_bytes()
  for pause in range(len(losses)):
    lines = [{"step": 10 * i + 10, "split": "train", "loss": x} for i, x in enumerate(losses[:pause])]
    judge = watch(tmp_path, HIGH, lines=lines)  # the file of the longer run is there: its later lines go
    for i, loss in list(enumerate(losses))[pause:]:
      judge(10 * i + 10, "train", {"loss": loss})
    assert (tmp_path / FILE).read_bytes() == whole, pause


def test_a_process_that_does_not_write_judges_nothing(tmp_path):
  judge = Watch([HIGH], tmp_path, enabled=False)
  assert steps_of(judge, [2, 2, 2, 2]) == []
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
