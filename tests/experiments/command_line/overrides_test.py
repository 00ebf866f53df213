"""Overrides of a config by the words of a command line."""

import itertools
import json

import pytest
from absl import flags

from experiments.command_line import flags as command_line


def parsed(*words):
  command_line.forget()
  command_line.parse(["train", "--config=dcgan:digits,tiny", *words], takes_config=True)
  return flags.FLAGS.config


@pytest.mark.parametrize(
  ("words", "path", "section"),
  [
    (("--config.loss={'name':'least_squares'}", "--config.loss.a=-1.0"), "loss", {"name": "least_squares", "a": -1.0}),
    (
      ("--config.loss={'name':'least_squares','a':0,'b':2}", "--config.loss.a=-0.5", "--config.loss.c=1.5"),
      "loss",
      {"name": "least_squares", "a": -0.5, "b": 2, "c": 1.5},
    ),
    (
      ("--config.penalties={'r1':{}}", "--config.penalties.r1.weight=1.0", "--config.penalties.r1.every=4"),
      "penalties",
      {"r1": {"weight": 1.0, "every": 4}},
    ),
    (
      (
        "--config.generator_optim={'name':'sgd','learning_rate':0.1}",
        "--config.generator_optim.learning_rate={'name':'linear','start':1.0}",
        "--config.generator_optim.learning_rate.end=0.5",
      ),
      "generator_optim",
      {"name": "sgd", "learning_rate": {"name": "linear", "start": 1.0, "end": 0.5}},
    ),
  ],
)
def test_a_section_is_set_before_its_arguments_in_any_order_of_the_words(words, path, section):
  for order in itertools.permutations(words):
    assert parsed(*order)[path].to_dict() == section


def test_a_fraction_replaces_a_whole_number_of_a_shared_key_nowhere():
  assert parsed("--config.train.batch_size=4").train.batch_size == 4
  with pytest.raises(command_line.ConfigError, match=r"batch_size=4\.5 must be a whole number"):
    parsed("--config.train.batch_size=4.5")


def test_degradations_keep_their_order():
  sections = ({"name": "resize", "scale": 2}, {"name": "jpeg", "quality": (30.0, 95.0)})
  config = command_line.checked(parsed(f"--config.data.degradation={sections}"))
  assert config.data.degradation == sections
  assert command_line.thaw(json.loads(config.to_json_best_effort())).data.degradation == sections
  with pytest.raises(command_line.ConfigError, match="config.data.degradation=.'name',. must be a tuple of sections"):
    command_line.checked(parsed("--config.data.degradation={'name': 'jpeg'}"))
