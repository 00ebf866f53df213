"""The files that describe a run: config.json, spec.json, versions.json of its first start, and starts.jsonl of all."""

import dataclasses
import importlib.metadata
import json
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common import files
from common.data.spec import Spec
from common.errors import ConfigError

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "ml-collections")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Flattens nested mappings to {"a.b": value}."""
  flat: dict[str, Any] = {}
  for key, value in tree.items():
    path = f"{prefix}{key}"
    flat.update(flatten(value, f"{path}.") if isinstance(value, Mapping) and value else {path: value})
  return flat


def write_json(path: Path, record: Any) -> None:
  """Writes ``record`` atomically."""
  files.write(path, json.dumps(record, indent=2) + "\n")


def read_json(path: Path) -> Any:
  """Reads a JSON file; raises ConfigError if it is missing or damaged."""
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError:
    if (path.parent / "config.json").exists():
      raise ConfigError(f"{path} does not exist; restore it from a copy, or start in another workdir") from None
    runs = sorted(config.parent.name for config in path.parent.glob("*/config.json"))
    there = f"the runs {', '.join(runs[:10])} are in it" if runs else "name one that experiments.train made"
    raise ConfigError(f"{path} does not exist: {path.parent} is not the workdir of a run; {there}") from None
  except ValueError as error:
    raise ConfigError(f"{path} is damaged ({error}); restore it from a copy, or start in another workdir") from None


def write_description(workdir: Path, config: Mapping[str, Any], spec: Spec, *, first: bool = True) -> None:
  """Writes the files from which a reader rebuilds the run without its data; config.json comes last and marks a run."""
  write_json(workdir / "spec.json", dataclasses.asdict(spec))
  if first:
    write_json(workdir / "versions.json", versions())
  write_json(workdir / "config.json", config)


def has_saved(workdir: Path) -> bool:
  """Returns whether there is a checkpoint; until then, earlier starts do not bind the workdir to their settings."""
  return any(next((workdir / name).glob("*.json"), None) for name in ("checkpoints", "best"))


def record_start(workdir: Path, step: int, changes: list[str], init_from: str) -> list[str]:
  """Appends a start to starts.jsonl; returns one line for each version that differs from that of the first start."""
  now, file = versions(), workdir / "versions.json"
  first = read_json(file) if file.exists() else {}
  if not first:
    write_json(file, now)
  record = {"step": step, "time": round(time.time()), "changes": changes, "init_from": init_from, **now}
  files.append(workdir / "starts.jsonl", json.dumps(record))
  return [f"{key}: {first.get(key)} -> {value}" for key, value in now.items() if first and first.get(key) != value]


def read_spec(workdir: Path) -> Spec:
  """Reads the Spec of a run; raises ConfigError if spec.json is missing or damaged."""
  record = read_json(workdir / "spec.json")
  try:
    return Spec.from_json(record)
  except (AttributeError, TypeError):
    raise ConfigError(f"{workdir}/spec.json describes no run; restore it from a copy, or use another workdir") from None


def check_resume(
  workdir: Path,
  old_config: Mapping[str, Any],
  config: Mapping[str, Any],
  spec: Spec,
  may_change: Callable[[str], bool],
  elsewhere: str,
) -> tuple[list[str], list[str]]:
  """Compares a new start's config and spec with those of the workdir; writes nothing.

  Args:
    workdir: of a run that has saved a checkpoint.
    old_config: its config.json.
    config: of the new start.
    spec: of the data set now.
    may_change: whether a run may go on under another value of a key.
    elsewhere: where a run with other settings can be, for the error.

  Returns:
    What could not be compared, and the changes that are allowed, one line each.

  Raises:
    ConfigError: listing the changes that would make it another run.
  """
  old, new = flatten(old_config), flatten(json.loads(json.dumps(config)))
  changes = [(key, old.get(key, "(absent)"), new.get(key, "(absent)")) for key in {**old, **new}]
  changes = [(key, a, b) for key, a, b in changes if a != b]
  refused = [f"config.{key}: {a} -> {b}" for key, a, b in changes if not may_change(key)]
  refused += read_spec(workdir).differences(spec)
  if refused:
    shown = "; ".join(refused[:5]) + (f"; and {len(refused) - 5} more" if len(refused) > 5 else "")
    raise ConfigError(f"{workdir} holds a run with other settings: {shown}\nUse its settings, or {elsewhere}.")
  unknown = []
  if (workdir / "versions.json").exists():
    read_json(workdir / "versions.json")  # raises, before anything is written, if it is damaged
  else:
    unknown.append("versions.json is missing: versions are not compared")
  return unknown, [f"config.{key}: {a} -> {b}" for key, a, b in changes]


def versions() -> dict[str, str]:
  """Returns the versions of Python, packages, platform and git commit (with -dirty if files differ from it)."""
  found = {"python": platform.python_version(), "platform": platform.platform(), "commit": _commit()}
  for package in PACKAGES:
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      found[package] = "unknown"
  return found


def _commit() -> str:
  command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
  try:
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
  except (OSError, subprocess.SubprocessError):
    return "unknown"
