"""Checkpoints that survive kills, full disks and flipped bits. The only file that knows orbax.

The checkpoint of step 100 is a directory ``100/``, written by orbax in the background, and a manifest ``100.json`` with
the sha256 of each of its files. The manifest is written last and renamed into place: that commits a checkpoint, and
only then are older ones deleted. Orbax alone is atomic, but restores most flipped bits without a word and casts dtypes
in silence; therefore a checkpoint is read only after its manifest holds, byte for byte.

Several processes share the directory: all of them call the same methods in the same order, and process 0 decides,
writes manifests and deletes.
"""

import concurrent.futures
import json
import logging
import math
import re
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax

from common.parallel import from_process_0
from common.training import manifest
from common.training.manifest import CheckpointError
from common.types import PyTree

T = TypeVar("T")

_OURS = re.compile(r"(\d+)(\.1|\.json)?")  # 100, 100.1 (a second save of step 100) and 100.json
_TEMPORARY = re.compile(r"\d+(\.1)?\.orbax-checkpoint-tmp.*|\d+\.json\.tmp")
OTHER_MODEL = (
  "use the config that made it, or, if the code has changed since, the commit in the run's versions.json; "
  "or another --workdir"
)
BEFORE_AVERAGES = (
  "it was saved before statistics were averaged with the weights, without which its average draws other pictures: "
  "read it with commit 86c43a4, or train it again in another --workdir"
)
_BARRIER_SECONDS = 600  # how long a process waits for the others before it gives up


class NoCheckpointError(CheckpointError):
  """Nothing was ever saved here (or a kill came before the first save was complete): start afresh."""


class Restored(NamedTuple):
  """What `Checkpoints.restore` gives back; ``skipped`` has what is wrong with each newer step that was passed over."""

  step: int
  state: PyTree
  progress: dict[str, Any]
  skipped: tuple[str, ...]


def _library() -> Any:
  import orbax.checkpoint  # here, not above: it takes a second that no start should wait for

  return orbax.checkpoint


def _writer() -> Any:
  ocp = _library()
  # What fails in orbax's threads is raised here as well, in one line; the traceback in its log would come first.
  logging.getLogger("absl").addFilter(lambda entry: entry.levelno < logging.ERROR or "orbax" not in entry.pathname)
  # Of a replicated array one device's copy is written: to share the work among devices, orbax would first slice each
  # array on them (60 MB on 8 CPU devices: save blocks for 0.14 s, not 0.04, and the first time for 1 s). Compression
  # would halve the speed to save 8 % of a net's bytes.
  arrays = ocp.type_handlers.ArrayHandler(use_replica_parallel=False)
  registry = ocp.type_handlers.create_type_handler_registry((jax.Array, arrays))
  handler = ocp.PyTreeCheckpointHandler(use_compression=False, type_handler_registry=registry)
  return ocp.AsyncCheckpointer(handler)


class Checkpoints:
  """The checkpoints in one directory.

  Saving happens in the background; a save that failed raises CheckpointError at the next `save`, `wait` or `close`.

  Args:
    directory: where they lie; made where it is missing.
    keep: how many to keep, at least 1.
    read_only: never writes or deletes, so it may look into the directory of a running experiment.
  """

  def __init__(self, directory: Path, *, keep: int, read_only: bool = False):
    if keep < 1:
      raise CheckpointError(f"checkpoint.keep={keep} must be at least 1: a run without checkpoints cannot resume")
    self._directory = Path(directory).absolute()  # orbax refuses relative paths
    self._keep = keep
    self._read_only = read_only
    self._writer: Any = None
    self._opening = threading.Lock()
    self._committer = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
    self._pending: concurrent.futures.Future[None] | None = None
    self._head = math.inf  # the step that was last saved or restored: what is later belongs to an abandoned course
    if jax.process_count() > 1:
      self.warm_up().result()  # for the barriers of the next line
    if not read_only:
      self._from_process_0(self._open)

  def warm_up(self) -> "concurrent.futures.Future[Any]":
    """Loads orbax in the background: a second of work that the first `save` then finds done.

    Returns:
      What to wait for, if one must; what goes wrong in it, `save` and `restore` raise.
    """
    return self._committer.submit(lambda: self._orbax)

  def save(self, step: int, state: PyTree, progress: Mapping[str, Any]) -> None:
    """Starts to save ``state`` (a pytree of arrays) and ``progress`` (JSON-able, string keys; floats are kept exactly).

    Returns as soon as the caller may donate the arrays: orbax holds views of what it has not yet written, and XLA does
    not reuse a buffer that has one. Checkpoints of this step, and those that were later than the step from which
    training resumed, belong to an abandoned run: they are removed when the new one is complete.

    Raises:
      CheckpointError: the last save failed, the disk lacks space, or this is a reader.
    """
    if self._read_only:
      raise CheckpointError(f"{self._directory} was opened read-only; nothing can be saved there")
    leaves, _ = _by_name(state)
    record = {
      "step": step,
      "progress": json.loads(json.dumps(progress)),  # as it is now: the caller goes on to change it
      "leaves": _describe(leaves),
    }
    self.wait()
    num_bytes = sum(leaf.nbytes for leaf in leaves.values())
    record["data"] = self._from_process_0(lambda: self._prepare(step, num_bytes))
    try:
      self._orbax.save(self._directory / record["data"], args=_library().args.PyTreeSave(leaves))
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
    """The complete checkpoints, oldest first, by their manifests and file sizes (only `restore` reads every byte)."""

    def complete(step: int) -> bool:
      try:
        manifest.verify(self._directory, step, contents=False)
      except CheckpointError:
        return False
      return True

    return self._from_process_0(lambda: [step for step in self._candidates() if complete(step)])

  def restore(self, like: PyTree, step: int | None = None) -> Restored:
    """Verifies, then reads a checkpoint.

    Args:
      like: the state's pytree, of arrays or of ShapeDtypeStructs; a leaf's sharding says where it goes (default: the
        first local device), whatever devices it was saved from.
      step: which one; None is the newest that is good.

    Raises:
      NoCheckpointError: nothing was ever saved.
      CheckpointError: none is good, ``step`` is missing or damaged, or the tree, a shape or a dtype differs.
    """
    self.wait()
    record, skipped = self._from_process_0(lambda: self._choose(step))
    leaves, treedef = _by_name(like)
    path = self._directory / record["data"]
    _match(path, record["leaves"], _describe(leaves))
    targets = {name: _target(leaf) for name, leaf in leaves.items()}
    restore_args = _library().checkpoint_utils.construct_restore_args(targets)
    try:
      stored = self._orbax.restore(path, args=_library().args.PyTreeRestore(item=targets, restore_args=restore_args))
    except Exception as error:  # of a file that goes while it is read, orbax raises a bare one
      manifest_file = self._directory / f"{record['step']}.json"
      if self._read_only and step is None and not (path.exists() and manifest_file.exists()):
        return self.restore(like)  # the run that writes has newer ones by now, and deleted this
      raise CheckpointError(f"{path} was whole, yet reading it failed: {error}; try again") from error
    state = jax.tree_util.tree_unflatten(treedef, [stored[name] for name in leaves])
    self._head = record["step"]
    return Restored(record["step"], state, record["progress"], tuple(skipped))

  def reached_preemption(self, step: int) -> bool:
    """Whether the processes agreed to save at ``step`` and stop after a SIGTERM; False without jax.distributed."""
    return jax.process_count() > 1 and _library().multihost.reached_preemption(step)

  def close(self) -> None:
    """Completes the last save; raises CheckpointError if it failed."""
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
      exc.add_note(str(error))  # what stopped the run stays the error

  @property
  def _orbax(self) -> Any:
    """Orbax's writer and reader, made when first needed."""
    with self._opening:
      if self._writer is None:
        self._writer = _writer()
      return self._writer

  # Saving, in order: _open once, then _prepare (before orbax), _commit (after orbax, in the background), _finish.

  def _open(self) -> None:
    self._directory.mkdir(parents=True, exist_ok=True)
    # Data without a manifest stays for now: were the manifest lost, restore should say so.
    self._delete(lambda name: _TEMPORARY.fullmatch(name) is not None)

  def _prepare(self, step: int, num_bytes: int) -> str:
    """Makes room and gives the directory's name, which is never one that a manifest refers to."""
    self._delete_unreferenced()
    free = shutil.disk_usage(self._directory).free
    if free < num_bytes:
      raise CheckpointError(
        f"{self._directory} has {free:,} bytes free and the checkpoint of step {step} needs {num_bytes:,}; "
        "free some space, or lower checkpoint.keep"
      )
    return f"{step}.1" if (self._directory / str(step)).exists() else str(step)

  def _commit(self, record: dict[str, Any], head: float) -> None:
    step, data = record["step"], self._directory / record["data"]
    try:
      self._orbax.wait_until_finished()
      if jax.process_index() != 0:
        return
      manifest.write(self._directory / f"{step}.json", {**record, "files": manifest.digests(data)})
      kept = [other for other in self._candidates() if other <= min(head, step) or other == step][-self._keep :]
      for other in set(self._candidates()) - set(kept):
        (self._directory / f"{other}.json").unlink(missing_ok=True)  # before its data: a kill leaves no half
      self._delete_unreferenced()
    except Exception as error:  # of any kind: it is raised where the caller sees it
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

  def _delete_unreferenced(self) -> None:
    referenced = set()
    for step in self._candidates():
      try:
        referenced |= {f"{step}.json", manifest.read(self._directory / f"{step}.json")["data"]}
      except CheckpointError:
        referenced.add(f"{step}.json")  # damaged: kept as evidence until a newer checkpoint is there
    self._delete(lambda name: name not in referenced)

  def _delete(self, unwanted: Callable[[str], bool]) -> None:
    """Deletes what bears one of our names and is unwanted; what others put into the directory stays."""
    for path in self._directory.iterdir():
      if (_OURS.fullmatch(path.name) or _TEMPORARY.fullmatch(path.name)) and unwanted(path.name):
        shutil.rmtree(path) if path.is_dir() else path.unlink()

  # Restoring.

  def _names(self) -> set[str]:
    names = (path.name for path in self._directory.iterdir()) if self._directory.is_dir() else ()
    return {name for name in names if _OURS.fullmatch(name)}

  def _candidates(self) -> list[int]:
    """Every step that has data or a manifest, good or not."""
    return sorted({int(name.partition(".")[0]) for name in self._names()})

  def _choose(self, step: int | None) -> tuple[dict[str, Any], list[str]]:
    """The manifest of ``step``, or of the newest good one, and what is wrong with those passed over."""
    if step is not None:
      try:
        return manifest.verify(self._directory, step), []
      except CheckpointError as error:
        others = ", ".join(str(other) for other in self._candidates() if other != step) or "none"
        raise CheckpointError(f"step {step} cannot be restored: {error}; other steps: {others}") from error
    while True:
      skipped: list[str] = []
      names, candidates = self._names(), self._candidates()
      for candidate in reversed(candidates):
        try:
          return manifest.verify(self._directory, candidate), skipped
        except CheckpointError as error:
          skipped.append(f"step {candidate}: {error}")
      if names == self._names():  # else a running experiment has just replaced the ones we looked at
        break
    if not any((self._directory / f"{candidate}.json").exists() for candidate in candidates):
      raise NoCheckpointError("; ".join([f"{self._directory} has no checkpoint", *skipped]))
    listing = "".join(f"\n  {reason}" for reason in skipped)
    raise CheckpointError(
      f"no good checkpoint is left in {self._directory}:{listing}\n"
      "Bring back an intact copy of one, or start afresh with another --workdir."
    )

  def _from_process_0(self, work: Callable[[], T]) -> T:
    """What ``work`` gives, or the CheckpointError that it raises, on process 0; the same on every process."""

    def barrier() -> None:
      _library().multihost.get_barrier_sync_fn()(key="checkpoints", timeout_ms=1000 * _BARRIER_SECONDS)

    return from_process_0(work, errors=(NoCheckpointError, CheckpointError), before=barrier)


# The tree: orbax stores a flat dict, so that names are readable and no class needs to exist to read it.


def _by_name(tree: PyTree) -> tuple[dict[str, Any], Any]:
  """{"generator/params/conv/kernel": leaf, ...} in the order of the tree's leaves, and its treedef."""
  flat, treedef = jax.tree_util.tree_flatten_with_path(tree)
  leaves = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}
  if len(leaves) != len(flat):
    raise CheckpointError("two leaves of the state have the same path: a key must not contain /")
  return leaves, treedef


def _describe(leaves: Mapping[str, Any]) -> dict[str, str]:
  return {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in leaves.items()}


def _target(leaf: Any) -> jax.ShapeDtypeStruct:
  sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _match(path: Path, stored: Mapping[str, str], wanted: Mapping[str, str]) -> None:
  """Raises CheckpointError that names the first three leaves whose path, shape or dtype differ."""
  differ = [name for name in {**wanted, **stored} if stored.get(name) != wanted.get(name)]
  if differ:
    lines = [f"{name}: stored {stored.get(name, 'not')}, model {wanted.get(name, 'has none')}" for name in differ[:3]]
    more = f"; and {len(differ) - 3} more" if len(differ) > 3 else ""
    older = all("ema_mutable/" in name and name not in stored for name in differ)
    raise CheckpointError(
      f"{path} does not fit this model ({'; '.join(lines)}{more}); {BEFORE_AVERAGES if older else OTHER_MODEL}"
    )


def _raise(error: BaseException | None) -> None:
  if error is not None:
    raise error
