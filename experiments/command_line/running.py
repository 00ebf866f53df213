"""The steps of api.train and api.check: builds an algorithm on its data, claims a workdir, and trains to the end."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from common import parallel
from common.algorithm import Trainable
from common.data.dataset import Dataset, open_dataset
from common.data.latents import is_latents
from common.data.spec import Spec
from common.errors import ConfigError, NonFiniteError
from common.state import transfer_weights
from common.training import workdir as description
from common.training.lock import LockedError, WorkdirLock
from common.training.log import Status
from common.training.program import Program
from common.training.trainer import Run
from common.types import PyTree
from configs import schema
from experiments import build_algorithm
from experiments.command_line import flags as command_line
from experiments.loading import is_exported, load_run, read_config, with_arguments


def built(config: ConfigDict, status: Status) -> tuple[ConfigDict, Dataset, Trainable]:
  """Opens the data set and builds the algorithm; a config for latents is completed by the run that they belong to."""
  parallel.check_devices(config.parallel.mode, config.train.batch_size)
  if is_latents(config.data.name):
    from experiments.latents.fitted_prior import with_latents

    config = with_latents(config, status)
  with status.phase("reading the data set"):
    dataset = open_dataset(config.data, status.line)
    return config, dataset, build_algorithm(config, dataset.spec, parallel.axis_name_of(config.parallel.mode))


def initial_state(program: Program, init_from: str | Path, partly: bool, status: Status) -> PyTree:
  """Returns a fresh state, with the weights of ``init_from`` if that is given, or with those that fit if ``partly``."""
  if not init_from:
    return program.init()
  other = load_run(Path(init_from), "last", parallel.make_mesh())
  status.line(f"weights from step {other.step:,} of {init_from}")
  state, fresh = transfer_weights(other.state, program.init(), partly=partly)
  for line in fresh:
    status.line(f"not from there: {line}")
  return state


@contextmanager
def claimed(
  workdir: Path, config: Any, spec: Spec, status: Status, init_from: str = ""
) -> Iterator[Callable[[int], None]]:
  """Locks the workdir and, if it holds checkpoints, compares its description with ``config`` and ``spec``.

  Process 0 does all of it, and every process raises its errors.

  Args:
    workdir: the run's directory; made if it is missing.
    config: of this start.
    spec: of the data set now.
    status: receives a line for each change since the last start.
    init_from: workdir of the initial weights, for the record.

  Yields:
    A function that records a start at a step.

  Raises:
    LockedError: another process writes to the workdir.
    ConfigError: the workdir holds a run with other settings.
  """
  record = _with_absolute_dir({"version": schema.VERSION, **json.loads(config.to_json())})

  def claim() -> list[list[str]]:
    command_line.make_directory("workdir", workdir)
    if is_exported(workdir):
      raise ConfigError(f"--workdir={workdir} holds an exported model; use {_elsewhere(workdir)}")
    lock = stack.enter_context(WorkdirLock(workdir))
    if lock.previous:
      status.line(f"took over the lock of process {lock.previous.pid} on {lock.previous.host}, which died")
    if not description.has_saved(workdir):
      return [[], []]
    if not (workdir / "config.json").exists():
      raise ConfigError(
        f"{workdir} has checkpoints but no config.json to compare with; bring it back, or use another --workdir"
      )
    old, notes = read_config(workdir)
    before, now = with_arguments(_with_absolute_dir(old)), with_arguments(record)
    unknown, changed = description.check_resume(workdir, before, now, spec, schema.may_change, _elsewhere(workdir))
    return [[*notes, *unknown], changed]

  def start_at(step: int) -> None:
    if jax.process_index() != 0:
      return
    first = not description.has_saved(workdir)
    if first or notes or changes:
      description.write_description(workdir, record, spec, first=first)
    for difference in description.record_start(workdir, step, changes, init_from):
      status.line(f"another version than at the first start: {difference}")

  with ExitStack() as stack:
    notes, changes = parallel.from_process_0(claim, errors=(LockedError, ConfigError))
    for line in (*notes, *(f"changed since the last start: {change}" for change in changes)):
      status.line(line)
    yield start_at


def _with_absolute_dir(record: dict[str, Any]) -> dict[str, Any]:
  """Makes data.dir absolute, since later commands may run in another folder."""
  place = record.get("data", {}).get("dir")
  return {**record, "data": {**record["data"], "dir": str(Path(place).expanduser().absolute())}} if place else record


def _elsewhere(workdir: Path) -> str:
  """Where a run with other settings can be, for errors."""
  return f"another --workdir, where --init_from={workdir} starts from its weights if the networks are the same"


def to_the_end(run: Run, status: Status) -> None:
  """Trains to the last step and closes the run.

  Raises:
    Interrupted: a signal stopped the run, with everything saved.
    NonFiniteError: a loss, gradient, parameter or score is not finite; the last good checkpoint remains.
  """
  try:
    run.run()
  except NonFiniteError as error:
    saved = f"the last good checkpoint is of step {run.saved:,}" if run.saved else "no checkpoint was saved yet"
    advice = "Try a lower learning rate, --config.train.grad_clip=1.0, or look at the inputs"
    bound = f"; other settings need {_elsewhere(run.workdir)}" if description.has_saved(run.workdir) else ""
    raise NonFiniteError(f"{error}; {saved}. {advice}{bound}") from error
  finally:
    run.close()
  status.line(f"done: {run.step:,} steps in {run.workdir}")
