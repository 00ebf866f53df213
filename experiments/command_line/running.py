"""Locking a workdir, and running to completion: what everything that trains shares."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jax

from common import parallel
from common.data.spec import Spec
from common.errors import ConfigError, NonFiniteError
from common.training import workdir as description
from common.training.lock import LockedError, WorkdirLock
from common.training.log import Status
from common.training.trainer import Run
from configs import schema
from experiments.command_line import flags as command_line
from experiments.restore import read_config, with_arguments


@contextmanager
def claimed(
  workdir: Path, config: Any, spec: Spec, status: Status, *, elsewhere: str, init_from: str = ""
) -> Iterator[Callable[[int], None]]:
  """Locks the workdir and checks its description, if it has saved anything; yields what writes down a start at a step.

  All of it is done by process 0, and a refusal reaches every process. ``elsewhere`` is where a run with other settings
  can be.
  """
  record = _from_anywhere({"version": schema.VERSION, **json.loads(config.to_json())})

  def claim() -> list[list[str]]:
    command_line.make_directory("workdir", workdir)
    lock = held.enter_context(WorkdirLock(workdir))
    if lock.previous:
      status.line(f"took over the lock of process {lock.previous.pid} on {lock.previous.host}, which died")
    if not description.has_saved(workdir):
      return [[], []]
    if not (workdir / "config.json").exists():
      other = elsewhere.partition(", where")[0]  # its weights cannot be read without its config
      raise ConfigError(f"{workdir} has checkpoints but no config.json to compare with; bring it back, or use {other}")
    old, notes = read_config(workdir)
    before, now = with_arguments(_from_anywhere(old)), with_arguments(record)
    unknown, changed = description.check_resume(workdir, before, now, spec, schema.may_change, elsewhere)
    return [[*notes, *unknown], changed]

  def start_at(step: int) -> None:
    if jax.process_index() != 0:
      return
    first = not description.has_saved(workdir)
    if first or notes or changes:
      description.write_description(workdir, record, spec, first=first)
    for difference in description.record_start(workdir, step, changes, init_from):
      status.line(f"another version than at the first start: {difference}")

  with ExitStack() as held:
    notes, changes = parallel.from_process_0(claim, errors=(LockedError, ConfigError))
    for note in notes:
      status.line(note)
    for change in changes:
      status.line(f"changed since the last start: {change}")
    yield start_at


def _from_anywhere(record: dict[str, Any]) -> dict[str, Any]:
  """config.json with an absolute data.dir: later commands may run in another folder."""
  place = record.get("data", {}).get("dir")
  return {**record, "data": {**record["data"], "dir": str(Path(place).expanduser().absolute())}} if place else record


def to_the_end(run: Run, status: Status, advice: str, elsewhere: str) -> None:
  """Trains to the last step and closes the run; ``advice`` is for numbers that are not finite.

  Raises:
    Interrupted: a signal stopped the run, with everything saved.
    NonFiniteError: see there.
  """
  try:
    run.run()
  except NonFiniteError as error:
    saved = f"the last good checkpoint is of step {run.saved:,}" if run.saved else "no checkpoint was saved yet"
    bound = f"; other settings need {elsewhere}" if description.has_saved(run.workdir) else ""
    raise NonFiniteError(f"{error}; {saved}. {advice}{bound}") from error
  finally:
    run.close()
  status.line(f"done: {run.step:,} steps in {run.workdir}")
