"""Measures a model on its validation split while it trains: its own figures, and the scores of its pictures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.algorithm import Generative
from common.build import choose
from common.errors import ConfigError
from common.evaluation.evaluate import Evaluator
from common.training.program import Program
from common.training.workdir import flatten, read_json, write_json
from common.types import PyTree

PROTOCOL = "validation_protocol.json"  # in the workdir: how its pictures are scored


class Validation:
  """Scores of a state on the validation split.

  Args:
    program: what is trained.
    skip: is told of each score that is undefined for a step's pictures, for example because they lack a class.

  Raises:
    ConfigError: config.evaluate or config.checkpoint.keep_best asks for something that this model or data set lacks.
  """

  def __init__(self, program: Program, skip: Callable[[str], None]):
    config, algorithm, dataset = program.config, program.algorithm, program.dataset
    self._evaluator = Evaluator(algorithm, dataset.spec, config, program.mesh)
    self._feed = self._evaluator.feed(dataset.validation)
    self._samples = None
    if config.evaluate.metrics:
      if not isinstance(algorithm, Generative):
        raise ConfigError(
          f"config.evaluate.metrics scores pictures, and a {config.family} makes none; "
          "set --config.evaluate.metrics={}"
        )
      # Imported here: a run without metrics loads no extractor and no metric.
      from common.evaluation.sample_validation import SampleValidation

      self._samples = SampleValidation(config, algorithm, dataset.spec, program.mesh, skip)
    self.keep_best = config.checkpoint.keep_best
    if self.keep_best:
      names = self._evaluator.names(program.state_shapes(), self._feed)
      names += list(self._samples.better) if self._samples else []
      # "frechet" does for "frechet@classifier:...".
      known = {name.partition("@")[0]: name for name in names} | {name: name for name in names}
      self.keep_best = choose(known, self.keep_best, "config.checkpoint.keep_best")
      end = self._samples.better.get(self.keep_best, "") if self._samples else ""
      if end not in ("", config.checkpoint.best_mode):
        raise ConfigError(
          f'config.checkpoint.best_mode="{config.checkpoint.best_mode}" would keep the worst '
          f"{self.keep_best.partition('@')[0]}; set --config.checkpoint.best_mode={end}"
        )

  @property
  def protocol(self) -> dict[str, Any] | None:
    """How pictures are scored, and which end of each score is better; None where they are not."""
    return {"protocol": self._samples.protocol, "better": self._samples.better} if self._samples else None

  def write_protocol(self, workdir: Path, say: Callable[[str], None] | None) -> None:
    """Writes how pictures are scored, if they are; ``say`` is told if the run was scored in another way before."""
    if not self.protocol:
      return
    file, now = workdir / PROTOCOL, flatten(json.loads(json.dumps(self.protocol)))
    old = flatten(read_json(file)) if say and file.exists() else now
    differ = [f"{key}: {old.get(key)} -> {now.get(key)}" for key in {**old, **now} if old.get(key) != now.get(key)]
    if say and differ:
      say(f"pictures are scored otherwise than before: {'; '.join(differ)}")
    write_json(file, self.protocol)

  def __call__(self, state: PyTree) -> dict[str, Any]:
    """Returns {name: number, or a list of numbers}."""
    return {**self._evaluator(state, self._feed), **(self._samples(state) if self._samples else {})}
