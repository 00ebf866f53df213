"""config.json of a run that is older than a key, an argument, or the version of the config."""

import json

import pytest

from common.errors import ConfigError
from configs import schema
from experiments.loading import read_config, with_arguments


def write(workdir, **record):
  (workdir / "config.json").write_text(json.dumps({"version": schema.VERSION, **record}), encoding="utf-8")


def test_a_key_that_a_run_is_older_than_takes_its_default_and_is_named(tmp_path):
  write(tmp_path, family="gan", train={"num_steps": 7}, loss={"name": "hinge"})
  record, notes = read_config(tmp_path)
  assert record["train"] == {"num_steps": 7, **{k: v for k, v in schema.get_config().train.items() if k != "num_steps"}}
  assert record["loss"] == {"name": "hinge"}
  assert "config.train.patience_from is 0: the run is older than this key" in notes
  assert "config.conditioning is {'name': 'none'}: the run is older than this key" in notes
  assert not [note for note in notes if "num_steps" in note or "loss " in note]
  write(tmp_path, **json.loads(schema.get_config("vae").to_json()))
  assert read_config(tmp_path)[1] == []


def test_an_argument_that_a_run_is_older_than_is_compared_at_its_constructors_default():
  old = {"family": "gan", "generator": {"name": "r3gan", "width": 8}, "penalties": {"r1": {"weight": 2.0}}}
  new = {
    **old,
    "generator": {"name": "r3gan", "width": 8, "wide_to": 32},
    "penalties": {"r1": {"weight": 2.0, "every": 1}},
  }
  assert with_arguments(old) == with_arguments(new)
  assert with_arguments(old)["generator"]["wide_to"] == 32
  new["generator"]["wide_to"] = 8
  assert with_arguments(old) != with_arguments(new)


@pytest.mark.parametrize("version", [{}, {"version": 2}])
def test_a_run_of_an_older_version_is_refused_in_one_line(tmp_path, version):
  (tmp_path / "config.json").write_text(json.dumps({"family": "vae", **version}), encoding="utf-8")
  with pytest.raises(ConfigError, match=f"commit {schema.LAST_OF_VERSION_2} is the last that reads it") as error:
    read_config(tmp_path)
  assert "\n" not in str(error.value)
