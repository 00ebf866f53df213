"""Saves and restores checkpoints that survive kills, full disks and flipped bits. The only file that uses orbax.

Orbax writes a checkpoint in the background; then its manifest is written, which commits it, and only then are older
ones deleted. Orbax is atomic, but restores most flipped bits and casts dtypes silently. A checkpoint is therefore read
only after every byte has been compared with the manifest.

Several processes share the directory: all of them call the same methods in the same order, and process 0 decides,
writes manifests and deletes.
"""

import concurrent.futures
import json
import logging
import math
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax

from common.parallel import from_process_0
from common.training import manifest
from common.training.manifest import CheckpointError, NoCheckpointError
from common.types import PyTree

T = TypeVar("T")

_BARRIER_SECONDS = 600  # how long a process waits for the others before it gives up


class Restored(NamedTuple):
  """The result of `Checkpoints.restore`; ``skipped`` says what is wrong with each newer checkpoint."""

  step: int
  state: PyTree
  progress: dict[str, Any]
  skipped: tuple[str, ...]


def _library() -> Any:
  import orbax.checkpoint  # not at the top: no start should wait a second for it

  return orbax.checkpoint


def _writer() -> Any:
  ocp = _library()
  # Errors in orbax's threads are also raised here, in one line; without the filter its log would print a traceback.
  logging.getLogger("absl").addFilter(lambda entry: entry.levelno < logging.ERROR or "orbax" not in entry.pathname)
  # One device writes a replicated array: to share the work, orbax would first slice each array on all devices (60 MB
  # on 8 CPU devices: save blocks for 0.14 s instead of 0.04, and the first time for 1 s). Compression would halve the
  # speed and save 8 % of a network's bytes.
  arrays = ocp.type_handlers.ArrayHandler(use_replica_parallel=False)
  registry = ocp.type_handlers.create_type_handler_registry((jax.Array, arrays))
  return ocp.AsyncCheckpointer(ocp.PyTreeCheckpointHandler(use_compression=False, type_handler_registry=registry))


class Checkpoints:
  """The checkpoints in one directory.

  Saving happens in the background; an error in it is raised as CheckpointError by the next `save`, `wait` or `close`.

  Args:
    directory: made if it is missing.
    keep: how many checkpoints to keep, at least 1.
    read_only: never writes or deletes, so that the directory may belong to a running experiment.
  """

  def __init__(self, directory: Path, *, keep: int, read_only: bool = False):
    if keep < 1:
      raise CheckpointError(f"checkpoint.keep={keep} must be at least 1: a run without checkpoints cannot resume")
    self._directory = Path(directory).absolute()  # orbax refuses relative paths
    self._keep, self._read_only = keep, read_only
    self._writer: Any = None
    self._opening = threading.Lock()
    self._committer = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
    self._pending: concurrent.futures.Future[None] | None = None
    self._head = math.inf  # the step last saved or restored; later checkpoints belong to an abandoned course
    if jax.process_count() > 1:
      self.warm_up().result()  # the next line needs its barriers
    if not read_only:
      self._from_process_0(self._open)

  def warm_up(self) -> "concurrent.futures.Future[Any]":
    """Loads orbax in the background, which takes a second; errors are raised by the first `save` or `restore`."""
    return self._committer.submit(lambda: self._orbax)

  def save(self, step: int, state: PyTree, progress: Mapping[str, Any]) -> None:
    """Starts to save ``state`` (a pytree of arrays) and ``progress`` (JSON-able, string keys; floats are kept exactly).

    Returns as soon as the caller may donate the arrays: orbax holds views of those it has not yet written, and XLA does
    not reuse a buffer with views. Once the checkpoint is complete, earlier ones of this step, and those later than the
    step from which training resumed, are removed, since they belong to an abandoned run.

    Raises:
      CheckpointError: the last save failed, the disk lacks space, or this is a reader.
    """
    if self._read_only:
      raise CheckpointError(f"{self._directory} was opened read-only; nothing can be saved there")
    leaves, _ = _by_name(state)
    now = json.loads(json.dumps(progress))  # a copy: the caller goes on to change it
    self.wait()
    num_bytes = sum(leaf.nbytes for leaf in leaves.values())
    data = self._from_process_0(lambda: self._prepare(step, num_bytes))
    record = {"step": step, "progress": now, "leaves": _describe(leaves), "data": data}
    try:
      self._orbax.save(self._directory / data, args=_library().args.PyTreeSave(leaves))
    except (OSError, ValueError, RuntimeError) as error:
      raise self._failed(step, error) from error
    self._pending = self._committer.submit(self._commit, record, self._head)
    self._head = step

  def wait(self) -> None:
    """Returns when the last save is complete on every process, or raises CheckpointError if it failed."""
    failure = self._finish()
    self._from_process_0(lambda: _raise(failure))
    _raise(failure)

  def steps(self) -> list[int]:
    """Returns the complete checkpoints, oldest first, by manifests and file sizes; only `restore` reads every byte."""
    return self._from_process_0(lambda: manifest.complete_steps(self._directory))

  def restore(self, like: PyTree, step: int | None = None) -> Restored:
    """Verifies a checkpoint and reads it.

    Args:
      like: the state's pytree, with arrays or ShapeDtypeStructs as leaves; each leaf is placed by its sharding, or on
        the first local device if it has none, whatever devices it was saved from.
      step: None takes the newest undamaged one.

    Raises:
      NoCheckpointError: no save was ever completed.
      CheckpointError: all are damaged, ``step`` is missing or damaged, or the tree, a shape or a dtype differs.
    """
    self.wait()
    record, skipped = self._from_process_0(lambda: manifest.choose(self._directory, step))
    leaves, treedef = _by_name(like)
    path = self._directory / record["data"]
    _match(path, record["leaves"], _describe(leaves))
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    targets = {
      name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None) or here)
      for name, leaf in leaves.items()
    }
    restore_args = _library().checkpoint_utils.construct_restore_args(targets)
    try:
      stored = self._orbax.restore(path, args=_library().args.PyTreeRestore(item=targets, restore_args=restore_args))
    except Exception as error:  # orbax raises a bare one if a file disappears while it is read
      manifest_file = self._directory / f"{record['step']}.json"
      if self._read_only and step is None and not (path.exists() and manifest_file.exists()):
        return self.restore(like)  # the writing run has deleted it, since there are newer ones
      raise CheckpointError(f"{path} was whole, yet reading it failed: {error}; try again") from error
    state = jax.tree_util.tree_unflatten(treedef, [stored[name] for name in leaves])
    self._head = record["step"]
    return Restored(record["step"], state, record["progress"], tuple(skipped))

  def reached_preemption(self, step: int) -> bool:
    """Returns whether the processes agreed to save at ``step`` and stop after a SIGTERM; False for a single process."""
    return jax.process_count() > 1 and _library().multihost.reached_preemption(step)

  def close(self) -> None:
    """Completes the last save, or raises CheckpointError if it failed."""
    failure = self._finish()
    self._committer.shutdown()
    if self._writer is not None:
      self._writer.close()
    _raise(failure)

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, exc_type: Any, exc: BaseException | None, traceback: Any) -> None:
    try:
      self.close()
    except CheckpointError as error:
      if exc is None:
        raise
      exc.add_note(str(error))  # the run ends with the error that stopped it

  @property
  def _orbax(self) -> Any:
    """Orbax's writer and reader, made on first access."""
    with self._opening:
      if self._writer is None:
        self._writer = _writer()
      return self._writer

  # Saving, in order: _open once, then _prepare (before orbax), _commit (after orbax, in the background), _finish.

  def _open(self) -> None:
    self._directory.mkdir(parents=True, exist_ok=True)
    manifest.delete_temporary(self._directory)

  def _prepare(self, step: int, num_bytes: int) -> str:
    """Makes room, and returns a name for the directory to which no manifest refers."""
    manifest.delete_unreferenced(self._directory)
    free = shutil.disk_usage(self._directory).free
    if free < num_bytes:
      raise CheckpointError(
        f"{self._directory} has {free:,} bytes free and the checkpoint of step {step} needs {num_bytes:,}; "
        "free some space, or lower config.checkpoint.keep"
      )
    return f"{step}.1" if (self._directory / str(step)).exists() else str(step)

  def _commit(self, record: dict[str, Any], head: float) -> None:
    step, data = record["step"], self._directory / record["data"]
    try:
      self._orbax.wait_until_finished()
      if jax.process_index() != 0:
        return
      manifest.write(self._directory / f"{step}.json", {**record, "files": manifest.digests(data)})
      steps = manifest.steps(self._directory)
      kept = [other for other in steps if other <= min(head, step) or other == step][-self._keep :]
      for other in set(steps) - set(kept):
        (self._directory / f"{other}.json").unlink(missing_ok=True)  # first, so that a kill leaves no half checkpoint
      manifest.delete_unreferenced(self._directory)
    except Exception as error:
      raise self._failed(step, error) from error

  def _finish(self) -> BaseException | None:
    pending, self._pending = self._pending, None
    return pending.exception() if pending is not None else None

  def _failed(self, step: int, error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split())[:300]  # tensorstore's is long
    return CheckpointError(
      f"saving step {step} to {self._directory} failed: {reason}; earlier checkpoints are intact: "
      "remove the cause (a full disk?) and start the same command again"
    )

  def _from_process_0(self, work: Callable[[], T]) -> T:
    """Runs ``work`` on process 0 and returns its result, or raises its CheckpointError, on every process."""

    def barrier() -> None:
      _library().multihost.get_barrier_sync_fn()(key="checkpoints", timeout_ms=1000 * _BARRIER_SECONDS)

    return from_process_0(work, errors=(NoCheckpointError, CheckpointError), before=barrier)


# Orbax stores the state as a flat dict, so that names are readable and no class is needed to read it.


def _by_name(tree: PyTree) -> tuple[dict[str, Any], Any]:
  """Returns {"generator/params/conv/kernel": leaf, ...} in the order of the tree's leaves, and its treedef."""
  flat, treedef = jax.tree_util.tree_flatten_with_path(tree)
  leaves = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}
  if len(leaves) != len(flat):
    raise CheckpointError("two leaves of the state have the same path: a key must not contain /")
  return leaves, treedef


def _describe(leaves: Mapping[str, Any]) -> dict[str, str]:
  return {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in leaves.items()}


def _match(path: Path, stored: Mapping[str, str], wanted: Mapping[str, str]) -> None:
  """Raises CheckpointError that names the first three leaves whose path, shape or dtype differ."""
  differ = [name for name in {**wanted, **stored} if stored.get(name) != wanted.get(name)]
  if differ:
    lines = [f"{name}: stored {stored.get(name, 'not')}, model {wanted.get(name, 'has none')}" for name in differ[:3]]
    more = f"; and {len(differ) - 3} more" if len(differ) > 3 else ""
    raise CheckpointError(
      f"{path} does not fit this model ({'; '.join(lines)}{more}); use the config that made it, or, if the code has "
      "changed since, the commit in the run's versions.json; or another --workdir"
    )


def _raise(error: BaseException | None) -> None:
  if error is not None:
    raise error
