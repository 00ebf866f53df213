"""The manifest of a checkpoint: what belongs to it, byte for byte; its rename into place commits the checkpoint."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class CheckpointError(RuntimeError):
  """A checkpoint that cannot be written or used; its text says which, why, and the way out."""


def verify(directory: Path, step: int, contents: bool = True) -> dict[str, Any]:
  """The manifest of ``step`` if its files are as they were written; ``contents`` False looks at names and sizes only.

  Raises:
    CheckpointError: naming the file.
  """
  try:
    return _verified(directory, step, contents)
  except FileNotFoundError as error:  # a run that writes has newer ones by now, and deletes this
    raise CheckpointError(f"{error.filename} is missing") from None


def _verified(directory: Path, step: int, contents: bool) -> dict[str, Any]:
  manifest = read(directory / f"{step}.json")
  if manifest["step"] != step:
    raise CheckpointError(f"{step}.json belongs to step {manifest['step']}")
  name = manifest["data"]
  found = _files(directory / name)
  for file, (size, digest) in manifest["files"].items():
    if file not in found:
      raise CheckpointError(f"{name}/{file} is missing")
    if (now := found[file].stat().st_size) != size:
      raise CheckpointError(f"{name}/{file} has {now} bytes and was written with {size}")
    if contents and _sha256(found[file]) != digest:
      raise CheckpointError(f"{name}/{file} is damaged: its sha256 differs from the manifest's")
  if extra := sorted(set(found) - set(manifest["files"])):
    raise CheckpointError(f"{name}/{extra[0]} was not written by the save")
  return manifest


def digests(directory: Path) -> dict[str, tuple[int, str]]:
  """{file: (size, sha256)} of a checkpoint that was just written, flushed to the disk."""
  return {name: (path.stat().st_size, _sha256(path, sync=True)) for name, path in _files(directory).items()}


def _files(directory: Path) -> dict[str, Path]:
  return {path.relative_to(directory).as_posix(): path for path in sorted(directory.rglob("*")) if not path.is_dir()}


def _sha256(path: Path, sync: bool = False) -> str:
  if sync:  # the older checkpoint will be deleted, so this one must outlive a power cut
    with path.open("r+b") as written:  # Windows flushes only what is open for writing
      os.fsync(written.fileno())
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _render(manifest: Mapping[str, Any]) -> str:
  digest = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
  return json.dumps({"manifest": manifest, "sha256": digest}, indent=1)


def read(path: Path) -> dict[str, Any]:
  """Raises CheckpointError where the file is missing or its text is not what was written."""
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
  """Whole or not at all, and it stays through a power cut."""
  temporary = path.with_name(path.name + ".tmp")
  with temporary.open("w") as file:
    file.write(_render(manifest))
    file.flush()
    os.fsync(file.fileno())
  temporary.replace(path)
  if os.name == "nt":  # has no such thing as the next lines flush
    return
  directory = os.open(path.parent, os.O_RDONLY)
  try:
    os.fsync(directory)  # makes the rename itself last
  finally:
    os.close(directory)
