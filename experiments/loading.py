"""A trained run from its workdir alone: no data set, no config file, any number of devices."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from common.algorithm import Trainable
from common.build import parameters
from common.data.dataset import Dataset, open_dataset
from common.data.spec import Spec
from common.data.tokenizer import encode, tokenizer_of
from common.errors import ConfigError
from common.parallel import replicate
from common.training import weights
from common.training.workdir import read_json, read_spec
from common.types import PyTree
from configs import schema
from experiments import build_algorithm, choices
from experiments.command_line import flags as command_line


@dataclasses.dataclass(frozen=True)
class TrainedRun:
  """A trained run; ``notes`` says what was filled in or skipped, and ``sampler`` from where latents are drawn."""

  config: ConfigDict
  spec: Spec
  algorithm: Trainable
  state: PyTree
  step: int
  notes: tuple[str, ...]
  sampler: str = "prior"

  def latents(self) -> PyTree:
    """Returns the shapes of one row of latents, [1, ...] each."""
    model: Any = self.algorithm
    rows = [row for row in self.spec.rows if row.name in model.given]

    def draw(state: PyTree) -> PyTree:
      given = {row.name: jnp.zeros((1, *row.shape), row.dtype) for row in rows}
      return model.prior_sample(state, jax.random.key(0), jnp.arange(1), given or None)

    return jax.eval_shape(draw, self.state)

  def stated(self, labels: np.ndarray | None = None, texts: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Returns the rows of labels int32 [N] or of captions [N], those that are not None.

    Raises:
      ConfigError: the model does not take them, or a caption has a word that it does not know.
    """
    takes: tuple[str, ...] = getattr(self.algorithm, "given", ())
    names = [name for name, rows in (("label", labels), ("text", texts)) if rows is not None]
    if names and set(names) != set(takes):
      raise ConfigError(f"this model is given {' and '.join(takes) or 'nothing'}, and not {' and '.join(names)}")
    rows = {} if labels is None else {"label": labels}
    if texts is not None:
      rows["text"] = encode(tokenizer_of(self.config.data, self.spec.vocabulary), texts, "--text")
    return rows


def load_run(workdir: Path, checkpoint: str, mesh: Mesh) -> TrainedRun:
  """Restores "last", "best" or a step's number from ``workdir``, which may be in use, or what experiments.export wrote.

  Raises:
    ConfigError: the directory holds no run, or the checkpoint is neither of these.
    CheckpointError: there is no undamaged checkpoint.
  """
  from common.training.checkpoint import Checkpoints
  from common.training.program import make_state, state_shapes

  record, notes = read_config(workdir)
  config, spec = command_line.thaw(record), read_spec(workdir)
  algorithm = build_algorithm(config, spec)
  if is_exported(workdir):
    arrays, about = weights.load(workdir / weights.FILE)
    if checkpoint not in ("last", about.get("step")):
      raise ConfigError(f"{workdir} is an exported model of step {about.get('step')}; use --checkpoint=last")
    shapes = jax.eval_shape(lambda: make_state(algorithm, spec, config.seed))
    state = replicate(weights.with_named(weights.fresh(shapes), arrays), mesh)
    return TrainedRun(config, spec, algorithm, state, int(about.get("step", 0)), tuple(notes))
  directory = locate(workdir, checkpoint)
  with Checkpoints(directory, keep=1, read_only=True) as checkpoints:
    step = int(checkpoint) if checkpoint.isdigit() else None
    found = checkpoints.restore(state_shapes(algorithm, spec, config.seed, mesh), step)
  return TrainedRun(config, spec, algorithm, found.state, found.step, (*notes, *found.skipped))


def is_exported(workdir: Path) -> bool:
  """Whether the directory was written by experiments.export."""
  return (workdir / weights.FILE).is_file()


def locate(workdir: Path, checkpoint: str) -> Path:
  """Returns the directory of "last", "best" or a step's number.

  Raises:
    ConfigError: the checkpoint is none of these, or the run keeps no best one.
  """
  if checkpoint not in ("last", "best") and not checkpoint.isdigit():
    raise ConfigError(f"--checkpoint={checkpoint} is not last, best or the number of a step")
  directory = workdir / ("best" if checkpoint == "best" else "checkpoints")
  if checkpoint == "best" and not any(directory.glob("*.json")):
    keep_best = read_config(workdir)[0]["checkpoint"]["keep_best"]
    why = "no evaluation came yet" if keep_best else "config.checkpoint.keep_best is empty"
    raise ConfigError(f"{workdir} has no best checkpoint ({why}); use --checkpoint=last")
  return directory


def open_data(run: TrainedRun, workdir: Path | str, data_dir: str, **changes: Any) -> tuple[ConfigDict, Dataset]:
  """Opens a run's data set; returns config.data, with ``changes`` and a ``data_dir`` that is not empty, and the set.

  Raises:
    ConfigError: the data set cannot be opened, or is not the one of training.
  """
  data = run.config.data.copy_and_resolve_references()
  with data.unlocked():
    data.update({"dir": data_dir or data.dir, **changes})
  dataset = open_dataset(data)
  if differ := run.spec.differences(dataset.spec):
    raise ConfigError(
      f"the data set is not the one that {workdir} was trained on: {'; '.join(differ)}; name its directory, "
      "--data_dir=DIR"
    )
  return data, dataset


def read_config(workdir: Path) -> tuple[dict[str, Any], list[str]]:
  """Reads config.json; a key that the run is older than takes its default, and a line says so.

  Raises:
    ConfigError: the file is not the config of a run, or has a version that this code does not read.
  """
  record: dict[str, Any] = read_json(workdir / "config.json")
  if not isinstance(record, dict) or "family" not in record:
    raise ConfigError(f"{workdir}/config.json does not belong to a run; restore it from a copy, or use another workdir")
  if record.get("version", 1) < schema.VERSION:
    raise ConfigError(
      f"{workdir} holds a run of config version {record.get('version', 1)}, and this code reads {schema.VERSION} and "
      f"later; commit {schema.LAST_OF_VERSION_2} is the last that reads it, or use another workdir"
    )
  return schema.with_defaults(record)


def with_arguments(record: Mapping[str, Any]) -> dict[str, Any]:
  """Completes a recorded config: an argument that a choice lacks takes the default of its constructor."""
  complete = json.loads(json.dumps(record))
  for section, table in choices(record["family"]).items():
    chosen: Any = schema.value_at(complete, section) or {}
    of_names = chosen if section in schema.NAMED_BY_KEY else {chosen.get("name"): chosen}
    for name, arguments in of_names.items():
      for argument, parameter in parameters(table[name]).items() if name in table else ():
        if isinstance(parameter.default, bool | int | float | str | tuple | dict):
          arguments.setdefault(argument, json.loads(json.dumps(parameter.default)))
  return complete
