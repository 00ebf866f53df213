"""Measures and draws a run while it trains."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from common.algorithm import Generative, Trainable
from common.build import choose
from common.data.batches import EvalFeed, evaluation_batch
from common.data.dataset import Split
from common.data.spec import Spec
from common.errors import ConfigError
from common.evaluation.sampling import Gallery
from common.parallel import compile_step
from common.training.log import Status
from common.training.loop import Totals
from common.training.program import Program
from common.training.trainer import Run
from common.training.workdir import flatten, read_json, write_json
from common.types import PyTree

PROTOCOL = "validation_protocol.json"  # in the workdir: how the run's images are scored


class Evaluator:
  """Runs ``eval_step`` over a split on all devices: each image once, with the averaged weights; compiled once."""

  def __init__(self, algorithm: Trainable, spec: Spec, config: Any, mesh: Mesh):
    self._algorithm, self._mesh, self._config = algorithm, mesh, config

    def step(state: PyTree, data: PyTree, inputs: PyTree) -> tuple[tuple[()], PyTree]:
      batch, rng = evaluation_batch(data, inputs, spec, config)
      return (), algorithm.eval_step(state, batch, rng)

    self._step = compile_step(step, mesh, config.parallel.mode, batch_axis=EvalFeed.batch_axis, donate=False)

  def feed(self, split: Split) -> EvalFeed:
    """Returns the batches of a split that a call iterates over."""
    config = self._config
    return EvalFeed(split, self._mesh, batch_size=config.train.batch_size, resident_mb=config.data.resident_mb)

  def names(self, state: PyTree, feed: EvalFeed) -> list[str]:
    """Lists the scores that are single numbers, computing none; ``state`` may consist of ShapeDtypeStructs."""
    sums = jax.eval_shape(self._step, state, *feed.shapes)[1]
    means = {name: np.ones(mean.total.shape).tolist() for name, mean in sums.items()}
    scores = {**means, **self._algorithm.summarize(means)}
    return [name for name, score in scores.items() if not isinstance(score, list)]

  def __call__(self, state: PyTree, feed: EvalFeed) -> dict[str, Any]:
    """Returns {metric: its mean over the split, a number or a list}, with the figures of ``summarize``."""
    totals = Totals()
    for inputs in feed:
      totals.add(jax.device_get(self._step(state, feed.data, inputs)[1]))
    means = totals.means()
    return {**means, **self._algorithm.summarize(means)}


class Validation:
  """Scores of a state on the validation split: the model's own figures, and the metrics of config.evaluate.

  Args:
    program: what is trained.
    status: receives a line for each score that is undefined for a step's pictures, e.g. because they lack a class.

  Raises:
    ConfigError: config.evaluate or config.checkpoint.keep_best asks for something that this model or data set lacks.
  """

  def __init__(self, program: Program, status: Status):
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

      self._samples = SampleValidation(program, algorithm, status)
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


def evaluated_run(
  program: Program,
  workdir: Path,
  status: Status,
  initial: Callable[[], PyTree] | None = None,
  profile: tuple[int, int] | None = None,
) -> Run:
  """Returns a `Run` with the validation of ``config.evaluate`` and the pictures of ``config.samples``.

  Raises:
    ConfigError: as `Validation`.
  """
  validation = Validation(program, status) if program.config.evaluate.every else None
  draw = Gallery(program, program.algorithm) if isinstance(program.algorithm, Generative) else None
  keep_best = validation.keep_best if validation else ""
  run = Run(program, workdir, status, initial, validate=validation, keep_best=keep_best, draw=draw, profile=profile)
  if validation and jax.process_index() == 0:
    validation.write_protocol(workdir, status.line if run.step else None)
  return run
