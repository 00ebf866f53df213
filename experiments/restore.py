"""A trained run from its workdir alone: no data set, no config file, any number of devices."""

import dataclasses
from pathlib import Path
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from common.algorithm import PyTree, Spec, Trainable
from common.build import ConfigError
from common.workdir import read_json, read_spec
from configs import rules
from experiments import build_algorithm
from experiments import flags as command_line


@dataclasses.dataclass(frozen=True)
class RestoredRun:
  """What `restore` finds; ``notes`` says what was filled in or skipped."""

  config: ConfigDict
  spec: Spec
  algorithm: Trainable
  state: PyTree
  step: int
  notes: tuple[str, ...]


def restore(workdir: Path, checkpoint: str, mesh: Mesh) -> RestoredRun:
  """Restores "last", "best" or a step's number from ``workdir``, which may belong to a running experiment.

  Raises:
    ConfigError: no run there, or an unknown kind of checkpoint.
    CheckpointError: no good checkpoint.
  """
  from common.checkpoint import Checkpoints
  from common.program import state_shapes

  record, notes = read_config(workdir)
  config, spec = command_line.thaw(record), read_spec(workdir)
  algorithm = build_algorithm(config, spec)
  if checkpoint not in ("last", "best") and not checkpoint.isdigit():
    raise ConfigError(f"--checkpoint={checkpoint} is not last, best or the number of a step")
  directory = workdir / ("best" if checkpoint == "best" else "checkpoints")
  if checkpoint == "best" and not directory.is_dir():
    raise ConfigError(
      f"{workdir} keeps no best checkpoint (config.checkpoint.keep_best is empty); use --checkpoint=last"
    )
  with Checkpoints(directory, keep=1, read_only=True) as checkpoints:
    step = int(checkpoint) if checkpoint.isdigit() else None
    found = checkpoints.restore(state_shapes(algorithm, spec, config.seed, mesh), step)
  return RestoredRun(config, spec, algorithm, found.state, found.step, (*notes, *found.skipped))


def read_config(workdir: Path) -> tuple[dict[str, Any], list[str]]:
  """config.json with the keys that runs of older versions lack, and a line for each of those."""
  record, notes = read_json(workdir / "config.json"), []
  for path, value in rules.MIGRATIONS.get(record["family"], {}).items():
    section, keys = record, path.split(".")
    for key in keys[:-1]:
      section = section.setdefault(key, {})
    if keys[-1] not in section:
      section[keys[-1]] = value
      notes.append(f"config.{path} is {value}: the run is of a version that lacks it")
  return record, notes
