"""--help: every flag and every field, with a line of doc each."""

import re

import pytest
from absl import flags

from common.training.workdir import flatten
from experiments.command_line import flags as command_line
from tests.experiments.runs import call, run


@pytest.mark.parametrize("name", ["train", "evaluate", "sample", "arithmetic", "probe"])
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
  fields = flatten(command_line.load_config(command_line.find_config(name), "").to_dict())
  assert [(path, kind, value) for path, kind, value, _ in listed] == [
    (path, type(value).__name__, repr(value)) for path, value in fields.items()
  ]
  # A type's name in place of a doc is what choices.py falls back to where a docstring lacks the argument.
  assert not [path for path, _, _, doc in listed if re.fullmatch(r"int|float|bool|str|tuple.*|float \| .*", doc)]


def test_a_bare_name_from_another_directory(tmp_path):
  out, _ = run("train", "--config=dcgan", "--help", cwd=tmp_path)
  assert "arXiv:1511.06434" in out and "--config.generator.width: int = 64" in out
