"""The benchmark's figures are added up correctly, every case is a valid config, and the command runs."""

import json

import pytest

from experiments.benchmark import CASES, in_turn, ratio, resolve, speed
from tests.experiments.runs import ROOT, call, run


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_a_config(name: str) -> None:
  config, tiny = resolve(name), resolve(name, tiny=True, changes={"train.batch_size": 4})
  assert config.dtype == "float32" and config.train.batch_size >= 64
  assert tiny.data.name == "blobs" and tiny.train.batch_size == 4


def test_speeds_and_ratios_are_medians_of_rounds() -> None:
  ours, theirs = [[10, 1.0], [40, 2.0], [30, 0.5]], [[10, 2.0], [40, 1.0], [40, 2.0]]  # 10, 20, 60; 5, 40, 20 images/s
  assert speed(ours) == "20 (15-40)" and speed([[10, 2.0]]) == "5 (5-5)"
  assert ratio(ours, theirs) == 2.0  # of 2, 0.5 and 3


def test_sides_take_turns_in_bursts_of_the_given_length() -> None:
  calls = []

  def side(name: str, images_per_second: float):
    return lambda images: (calls.append((name, images)), (images, images / images_per_second))[1]

  bursts = in_turn({"a": side("a", 100.0), "b": side("b", 50.0)}, rounds=2, seconds=3.0)
  assert calls[-4:] == [("a", 300), ("b", 150), ("b", 150), ("a", 300)]
  assert bursts == {"a": [[300, 3.0]] * 2, "b": [[150, 3.0]] * 2}


def test_the_command_times_two_checkouts(tmp_path) -> None:
  words = ("--smoke", "--cases=vae_mlp", "--rounds=2", "--seconds=0.02", f"--against={ROOT}")
  out, _ = run("benchmark", *words, f"--out={tmp_path}")
  case = json.loads((tmp_path / "results.json").read_text())["cases"]["vae_mlp"]
  assert [len(case["bursts"][side]) for side in ("this", "other")] == [2, 2]
  assert set(case["seconds_to_first_step"]) == {"this", "other"}
  assert "| this / other |" in out and "| vae_mlp | 8 |" in out


@pytest.mark.parametrize(
  ("words", "message"),
  [
    ("--cases=vae_mpl", '--cases: "vae_mpl" is not one of'),
    ("--rounds=0", "rounds"),
    ("--against=/nowhere", "--against=/nowhere is not a checkout of this project"),
  ],
)
def test_a_wrong_flag_is_one_short_message(words: str, message: str, capsys) -> None:
  assert call("benchmark", words) == 2
  err = capsys.readouterr().err
  assert message in err and "Traceback" not in err
