"""The files that describe a run: config.json, spec.json, versions.json of its first start, and starts.jsonl of all."""

import dataclasses
import importlib.metadata
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.build import ConfigError
from common.spec import Spec

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "ml-collections")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Nested mappings -> {"a.b": value}."""
  flat: dict[str, Any] = {}
  for key, value in tree.items():
    path = f"{prefix}{key}"
    flat.update(flatten(value, f"{path}.") if isinstance(value, Mapping) and value else {path: value})
  return flat


def write_json(path: Path, record: Any) -> None:
  """Whole or not at all."""
  partial = path.with_suffix(".partial")
  partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
  os.replace(partial, path)


def read_json(path: Path) -> Any:
  """Raises ConfigError where the file is missing or is not JSON."""
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError:
    raise ConfigError(f"{path} does not exist: {path.parent} is not the workdir of a run") from None
  except ValueError as error:
    raise ConfigError(f"{path} is damaged ({error}); restore it from a copy, or start in another workdir") from None


def write_description(workdir: Path, config: Mapping[str, Any], spec: Spec) -> None:
  """Writes what a reader needs to rebuild the run without its data; config.json last, which makes it a run."""
  write_json(workdir / "spec.json", dataclasses.asdict(spec))
  write_json(workdir / "versions.json", versions())
  write_json(workdir / "config.json", config)


def record_start(workdir: Path, step: int, changes: list[str], init_from: str) -> list[str]:
  """Appends to starts.jsonl what starts here; returns what differs from the first start's versions, one line each."""
  now, first = versions(), read_json(workdir / "versions.json")
  record = {"step": step, "time": round(time.time()), "changes": changes, "init_from": init_from, **now}
  with (workdir / "starts.jsonl").open("a", encoding="utf-8") as file:
    file.write(json.dumps(record) + "\n")
  return [f"{key}: {first.get(key)} -> {value}" for key, value in now.items() if first.get(key) != value]


def read_spec(workdir: Path) -> Spec:
  """The Spec that the run was made with."""
  return Spec.from_json(read_json(workdir / "spec.json"))


def check_resume(
  workdir: Path, old_config: Mapping[str, Any], config: Mapping[str, Any], spec: Spec, may_change: Callable[[str], bool]
) -> list[str]:
  """Compares a new start's config and spec with what the workdir was made with.

  Returns:
    The changes that are allowed, one line each.

  Raises:
    ConfigError: listing the changes that would make it another run.
  """
  old, new = flatten(old_config), flatten(json.loads(json.dumps(config)))
  changes = [(key, old.get(key, "(absent)"), new.get(key, "(absent)")) for key in {**old, **new}]
  changes = [(key, a, b) for key, a, b in changes if a != b]
  refused = [f"config.{key}: {a} -> {b}" for key, a, b in changes if not may_change(key)]
  known = dataclasses.asdict(read_spec(workdir))
  refused += [f"data.{k}: {known[k]} -> {v}" for k, v in dataclasses.asdict(spec).items() if known[k] != v]
  if refused:
    shown = "; ".join(refused[:5]) + (f"; and {len(refused) - 5} more" if len(refused) > 5 else "")
    raise ConfigError(f"{workdir} holds a run with other settings: {shown}\nUse its settings, or another --workdir.")
  return [f"config.{key}: {a} -> {b}" for key, a, b in changes]


def versions() -> dict[str, str]:
  """Python, packages, platform and git commit (with -dirty where files differ from it)."""
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
