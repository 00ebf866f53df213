"""A run that is scored and drawn while it trains, as its config says."""

from collections.abc import Callable
from pathlib import Path

import jax

from common.algorithm import Generative
from common.evaluation.gallery import Gallery
from common.evaluation.validation import Validation
from common.training.log import Status
from common.training.program import Program
from common.training.trainer import Run
from common.types import PyTree


def evaluated_run(
  program: Program,
  workdir: Path,
  status: Status,
  initial: Callable[[], PyTree] | None = None,
  profile: tuple[int, int] | None = None,
) -> Run:
  """A `Run` with the validation of ``config.evaluate`` and the pictures of ``config.samples``.

  Raises:
    ConfigError: as `Validation`.
  """
  validation = Validation(program, status.line) if program.config.evaluate.every else None
  draw = Gallery(program, program.algorithm) if isinstance(program.algorithm, Generative) else None
  keep_best = validation.keep_best if validation else ""
  run = Run(program, workdir, status, initial, validate=validation, keep_best=keep_best, draw=draw, profile=profile)
  if validation and jax.process_index() == 0:
    validation.write_protocol(workdir, status.line if run.step else None)
  return run
