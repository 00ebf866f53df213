"""--help: every flag and every field, with a line of doc each."""

import re

import pytest
from absl import flags

from common.data.dataset import open_dataset
from common.training.workdir import flatten
from configs import schema
from experiments import build_algorithm
from experiments.command_line import flags as command_line
from experiments.command_line.help import arguments_left_out
from tests.experiments.runs import call, run


@pytest.mark.parametrize("name", ["train", "evaluate", "sample", "arithmetic", "probe", "demo"])
def test_every_flag_has_a_doc(name, capsys):
  assert call(name, "--help") == 0
  out = capsys.readouterr().out
  ours = flags.FLAGS.flags_by_module_dict()[f"experiments.{name}"]
  assert len(ours) >= 4
  for flag in ours:
    assert flag.help and f"  --{flag.name}: {flag.help}" in out
  assert ("  --config: " in out) is (name == "train")


@pytest.mark.parametrize("name", command_line.config_names())
def test_every_field_has_type_default_and_doc(name, capsys):
  assert call("train", f"--config={name}", "--help") == 0
  listed = re.findall(r"^  --config\.(\S+): (\w+) = (.+?)  (\S.*)$", capsys.readouterr().out, re.M)
  config = command_line.load_config(command_line.find_config(name), "")
  shown = {path: (type(value).__name__, repr(value)) for path, value in flatten(config.to_dict()).items()}
  for path, value in arguments_left_out(config).items():
    shown[path] = (type(value).__name__, f"{value!r} (default)")
  assert [(path, (kind, value)) for path, kind, value, _ in listed] == sorted(shown.items())
  # A type's name in place of a doc is what help.py falls back to where a docstring lacks the argument.
  assert not [path for path, _, _, doc in listed if re.fullmatch(r"int|float|bool|str|tuple.*|float \| .*", doc)]


@pytest.mark.parametrize("name", command_line.config_names())
def test_each_argument_that_is_shown_as_left_out_may_be_set(name):
  config = command_line.load_config(command_line.find_config(name), "tiny")
  spec = open_dataset(config.data).spec
  with config.unlocked():
    for path, value in arguments_left_out(config).items():
      section, _, argument = path.rpartition(".")
      schema.value_at(config, section)[argument] = value
  assert not arguments_left_out(config)
  build_algorithm(config, spec)


def test_overrides_come_before_help(capsys):
  loss, optim = "--config.loss={'name':'least_squares','b':2.0}", "--config.generator_optim={'name':'sgd'}"
  assert call("train", "--config=dcgan", loss, optim, "--config.train.num_steps=77", "--help") == 0
  out = capsys.readouterr().out
  for line in (
    "loss.b: float = 2.0  D's target",
    "loss.a: float = 0.0 (default)  D's target",
    "generator_optim.learning_rate: required  ",
    "game.order: str = 'alternating' (default)  alternating",
    "train.num_steps: int = 77  ",
  ):
    assert f"  --config.{line}" in out
  assert "generator_optim.b1" not in out.replace("discriminator_optim", "")
  assert call("train", "--config=dcgan", "--config.loss={'name':'hinj'}", "--help") == 2
  assert 'did you mean "hinge"?' in capsys.readouterr().err


def test_a_bare_name_from_another_directory(tmp_path):
  out, _ = run("train", "--config=dcgan", "--help", cwd=tmp_path)
  assert "arXiv:1511.06434" in out and "--config.generator.width: int = 64" in out
