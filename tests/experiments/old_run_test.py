"""config.json of a run that was made before a key or an argument came to be."""

import inspect
import json

import pytest

from common.ema import EMAS
from common.errors import ConfigError
from configs import rules
from experiments.restore import read_config
from gan.networks import DISCRIMINATORS, GENERATORS


def test_what_an_older_version_lacks_is_filled_in_and_said(tmp_path):
  network = {"name": "r3gan", "width": 8}
  old = {"family": "gan", "train": {}, "generator": network, "discriminator": {**network, "wide_to": 8}}
  (tmp_path / "config.json").write_text(json.dumps(old), encoding="utf-8")
  record, notes = read_config(tmp_path)
  assert record["generator"] == {**network, "wide_to": 32}
  assert record["discriminator"]["wide_to"] == 8
  assert record["train"]["patience_from"] == 0
  said = [note.partition(" is ")[0] for note in notes]
  assert "config.generator.wide_to" in said and "config.train.patience_from" in said
  assert "config.discriminator.wide_to" not in said


def test_a_value_that_was_renamed_goes_on_under_its_new_name(tmp_path):
  (tmp_path / "config.json").write_text(json.dumps({"family": "vae", "data": {"resize": "bilinear"}}), encoding="utf-8")
  assert read_config(tmp_path)[0]["data"] == {"resize": "crop"}


def test_a_regularized_autoencoder_of_before_goes_on_only_where_its_objective_is_the_same(tmp_path):
  def write(**objective):
    record = {
      "version": 1,
      "family": "vae",
      "objective": {"name": "rae", "z_weight": 1e-4, "weight": 1e-6, **objective},
    }
    (tmp_path / "config.json").write_text(json.dumps(record), encoding="utf-8")

  write(regularizer="none")
  assert read_config(tmp_path)[0]["objective"]["weight"] == 0.0
  write(regularizer="gradient")
  with pytest.raises(ConfigError, match="another function now; read it with commit 86c43a4"):
    read_config(tmp_path)


@pytest.mark.parametrize(("decay", "warmup"), [(0.0, 10.0), (0.9, 0.0)])
def test_another_default_of_a_warm_up_is_no_change_where_no_average_is_kept(tmp_path, decay, warmup):
  ema = {"name": "decay", "decay": decay, "warmup": 0.0}
  (tmp_path / "config.json").write_text(json.dumps({"family": "vae", "ema": ema}), encoding="utf-8")
  assert read_config(tmp_path)[0]["ema"] == {**ema, "warmup": warmup, "start": 0}


def test_an_argument_that_is_filled_in_is_what_its_choice_had_without_it():
  for name, filled in rules.ARGUMENTS.items():
    for choice in (choices[name] for choices in (GENERATORS, DISCRIMINATORS, EMAS) if name in choices):
      arguments = inspect.signature(choice).parameters
      assert {argument: arguments[argument].default for argument in filled} == filled
