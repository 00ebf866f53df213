"""The commands of README.md are read by the commands that they name, in the order in which they stand there."""

import importlib
import re
import shlex

import pytest
from absl import flags

from common.data.dataset import open_dataset
from common.evaluation.metrics.catalogue import GROUPS, LIKELIHOOD_METRICS, SAMPLE_METRICS
from configs import schema
from experiments import ROOT, build_algorithm
from experiments.command_line import flags as command_line


def commands() -> list[tuple[str, list[str]]]:
  """(name, words) of each ``python -m experiments.NAME WORDS`` in a block of shell."""
  blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
  lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
  words = [shlex.split(line, comments=True) for line in lines]
  found = [line[line.index("-m") + 1 :] for line in words if "-m" in line]
  return [(name.removeprefix("experiments."), rest) for name, *rest in found if name.startswith("experiments.")]


def test_every_command_is_understood_and_finds_what_it_asks_for():
  kept: dict[str, str] = {}  # {workdir of a training: the metric whose best checkpoint it keeps}
  for name, words in commands():
    module = importlib.import_module(f"experiments.{name}")
    command_line.forget()
    module.define_flags()
    if name == "evaluate":
      words = module.join_compared(words)
    command_line.parse([name, *words], name == "train")
    if "--help" in words:
      continue
    workdir = flags.FLAGS.workdir if "workdir" in flags.FLAGS else ""
    if name == "train":
      config = command_line.checked(flags.FLAGS.config)
      assert not schema.problems(config), words
      if config.data.name == "digits":  # of the others the files may be missing
        build_algorithm(config, open_dataset(config.data).spec)
      kept[workdir] = config.checkpoint.keep_best
    elif "checkpoint" in flags.FLAGS and "best" in flags.FLAGS.checkpoint:
      assert kept[workdir], f"{workdir} keeps no best checkpoint for {words}"
  assert len(kept) > 10


def test_a_best_that_no_training_keeps_would_be_found(monkeypatch):
  monkeypatch.setattr(
    "tests.readme_test.commands",
    lambda: [("train", ["--config=dcgan", "--workdir=a"]), ("evaluate", ["--workdir=a", "--checkpoint=best,last"])],
  )
  with pytest.raises(AssertionError, match="a keeps no best checkpoint"):
    test_every_command_is_understood_and_finds_what_it_asks_for()


def test_the_readme_names_every_metric():
  table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Metrics")[2].partition("\n## ")[0]
  listed = set(re.findall(r"`(\w+)`", "".join(line for line in table.splitlines(True) if line.startswith("|"))))
  assert listed == {*SAMPLE_METRICS, *LIKELIHOOD_METRICS, *GROUPS}
