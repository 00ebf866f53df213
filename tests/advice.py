"""What an error advises, read out of its text and followed by the parser that reads a command line."""

import re
import shlex

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags

from common.data.dataset import open_dataset
from common.errors import ConfigError
from common.training.program import make_state
from configs import schema
from experiments import build_algorithm
from experiments.command_line.overrides import apply_overrides

SETTING = re.compile(r'--[\w.]+=(?:"[^"]*"|[^\s,;)"]*[^\s,;:.)"])')


def ways(text: str) -> list[list[str]]:
  """The alternatives that an error names, each the words to type: those with "and" between them go together.

  What is wrong comes first in the text, up to a semicolon or the end of the line.
  """
  advice = re.split(r"; |\n", text, maxsplit=1)[-1]
  found: list[list[str]] = []
  end = 0
  for match in SETTING.finditer(advice):
    if advice.startswith(("...", ":..."), match.end()):  # for the reader to fill in
      continue
    together = found and re.fullmatch(r" and (?:set )?", advice[end : match.start()])
    found += [] if together else [[]]
    found[-1] += shlex.split(match[0])
    end = match.end()
  return found


def applied(config: ConfigDict, words: list[str]) -> ConfigDict:
  """A copy of the config under overrides such as "--config.a.b=1", parsed as a command line is."""
  copy, values = ConfigDict(config.to_dict()).lock(), flags.FlagValues()
  words = apply_overrides(copy, {word.partition("=")[0].removeprefix("--config."): word for word in words})
  config_flags.DEFINE_config_dict("config", copy, flag_values=values, sys_argv=["", *words])
  values(["", *words])
  return values.config


def refusal(config: ConfigDict) -> str:
  """What a start says of the config before it compiles anything, and of the state's shapes; empty: nothing."""
  if found := schema.problems(config):
    return found[0]
  try:
    dataset = open_dataset(config.data)
    algorithm = build_algorithm(config, dataset.spec)
    jax.eval_shape(lambda: make_state(algorithm, dataset.spec, 0))
  except ConfigError as error:
    return str(error)
  return ""
