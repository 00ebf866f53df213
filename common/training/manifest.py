"""The files of the checkpoints in a directory, and the manifest of each: the size and sha256 of every file.

The checkpoint of step 100 consists of the manifest ``100.json``, whose renaming into place commits it, and of the
directory that the manifest names: ``100``, or ``100.1`` for a second save of that step.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class CheckpointError(RuntimeError):
  """A checkpoint cannot be written or used; the text says which one, why, and the way out."""


class NoCheckpointError(CheckpointError):
  """No save was ever completed here."""


_OURS = re.compile(r"(\d+)(\.1|\.json)?")
_TEMPORARY = re.compile(r"\d+(\.1)?\.orbax-checkpoint-tmp.*|\d+\.json\.tmp")


def _names(directory: Path) -> set[str]:
  names = (path.name for path in directory.iterdir()) if directory.is_dir() else ()
  return {name for name in names if _OURS.fullmatch(name)}


def steps(directory: Path) -> list[int]:
  """Returns every step with data or a manifest, damaged or not, oldest first."""
  return sorted({int(name.partition(".")[0]) for name in _names(directory)})


def complete_steps(directory: Path) -> list[int]:
  """Returns the steps whose files have the names and sizes in their manifest, oldest first."""
  complete = []
  for step in steps(directory):
    with contextlib.suppress(CheckpointError):
      verify(directory, step, contents=False)
      complete.append(step)
  return complete


def choose(directory: Path, step: int | None) -> tuple[dict[str, Any], list[str]]:
  """Returns the manifest of ``step``, or of the newest undamaged one, and what is wrong with newer ones.

  Raises:
    NoCheckpointError: there is no manifest.
    CheckpointError: ``step``, or every step, is missing or damaged.
  """
  if step is not None:
    try:
      return verify(directory, step), []
    except CheckpointError as error:
      others = ", ".join(str(other) for other in steps(directory) if other != step) or "none"
      raise CheckpointError(f"step {step} cannot be restored: {error}; other steps: {others}") from error
  while True:
    skipped: list[str] = []
    names, candidates = _names(directory), steps(directory)
    for candidate in reversed(candidates):
      try:
        return verify(directory, candidate), skipped
      except CheckpointError as error:
        skipped.append(f"step {candidate}: {error}")
    if names == _names(directory):  # otherwise a running experiment has just replaced them
      break
  if not any(name.endswith(".json") for name in names):
    raise NoCheckpointError("; ".join([f"{directory} has no checkpoint", *skipped]))
  listing = "".join(f"\n  {reason}" for reason in skipped)
  raise CheckpointError(
    f"no good checkpoint is left in {directory}:{listing}\n"
    "Bring back an intact copy of one, or start afresh with another --workdir."
  )


def delete_temporary(directory: Path) -> None:
  """Deletes what a kill left half written; data without a manifest stay, so that `choose` can report a lost one."""
  _delete(directory, lambda name: _TEMPORARY.fullmatch(name) is not None)


def delete_unreferenced(directory: Path) -> None:
  """Deletes data without a manifest."""
  referenced = set()
  for step in steps(directory):
    referenced.add(f"{step}.json")  # if it is damaged, it stays as evidence until there is a newer checkpoint
    with contextlib.suppress(CheckpointError):
      referenced.add(read(directory / f"{step}.json")["data"])
  _delete(directory, lambda name: name not in referenced)


def _delete(directory: Path, unwanted: Callable[[str], bool]) -> None:
  """Deletes unwanted files and directories with names of ours; others in the directory stay."""
  for path in directory.iterdir():
    if (_OURS.fullmatch(path.name) or _TEMPORARY.fullmatch(path.name)) and unwanted(path.name):
      shutil.rmtree(path) if path.is_dir() else path.unlink()


def verify(directory: Path, step: int, contents: bool = True) -> dict[str, Any]:
  """Returns the manifest of ``step`` if its files are unchanged; compares names and sizes only unless ``contents``.

  Raises:
    CheckpointError: naming the file that is missing, changed or foreign.
  """
  try:
    return _verified(directory, step, contents)
  except FileNotFoundError as error:  # deleted meanwhile by a writing run, which has newer ones
    raise CheckpointError(f"{error.filename} is missing") from None


def _verified(directory: Path, step: int, contents: bool) -> dict[str, Any]:
  manifest = read(directory / f"{step}.json")
  if manifest["step"] != step:
    raise CheckpointError(f"{step}.json belongs to step {manifest['step']}")
  name = manifest["data"]
  present = _files(directory / name)
  for file, (size, digest) in manifest["files"].items():
    if file not in present:
      raise CheckpointError(f"{name}/{file} is missing")
    if (now := present[file].stat().st_size) != size:
      raise CheckpointError(f"{name}/{file} has {now} bytes and was written with {size}")
    if contents and _sha256(present[file]) != digest:
      raise CheckpointError(f"{name}/{file} is damaged: its sha256 differs from the manifest's")
  if extra := sorted(set(present) - set(manifest["files"])):
    raise CheckpointError(f"{name}/{extra[0]} was not written by the save")
  return manifest


def digests(directory: Path) -> dict[str, tuple[int, str]]:
  """Flushes the files of a new checkpoint to the disk and returns {file: (size, sha256)}."""
  return {name: (path.stat().st_size, _sha256(path, sync=True)) for name, path in _files(directory).items()}


def _files(directory: Path) -> dict[str, Path]:
  return {path.relative_to(directory).as_posix(): path for path in sorted(directory.rglob("*")) if not path.is_dir()}


def _sha256(path: Path, sync: bool = False) -> str:
  if sync:  # the older checkpoint will be deleted, so this one must survive a power cut
    with path.open("r+b") as written:  # Windows flushes writable files only
      os.fsync(written.fileno())
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _render(manifest: Mapping[str, Any]) -> str:
  digest = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
  return json.dumps({"manifest": manifest, "sha256": digest}, indent=1)


def read(path: Path) -> dict[str, Any]:
  """Reads a manifest.

  Raises:
    CheckpointError: the file is missing, or its text differs from its sha256.
  """
  try:
    text = path.read_text()
    manifest = json.loads(text)["manifest"]
    if text == _render(manifest):
      return manifest
  except FileNotFoundError:
    raise CheckpointError(f"{path.name} is missing: the save goes on, was killed, or the file was deleted") from None
  except (ValueError, KeyError, TypeError):
    pass
  raise CheckpointError(f"{path.name} is damaged: its sha256 differs from its text")


def write(path: Path, manifest: Mapping[str, Any]) -> None:
  """Writes a manifest atomically; it survives a power cut."""
  temporary = path.with_name(path.name + ".tmp")
  with temporary.open("w") as file:
    file.write(_render(manifest))
    file.flush()
    os.fsync(file.fileno())
  temporary.replace(path)
  if os.name != "nt":  # Windows cannot flush a directory
    directory = os.open(path.parent, os.O_RDONLY)
    try:
      os.fsync(directory)  # makes the rename permanent
    finally:
      os.close(directory)
