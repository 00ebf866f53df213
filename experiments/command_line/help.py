"""The text of --help: the command's docstring and flags, and the fields of the config that it names."""

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from common.build import parameters
from common.schedules import SCHEDULES
from common.training.workdir import flatten
from configs import schema
from experiments import choices


def help_text(doc: str, program: str) -> str:
  """Returns the command's docstring and one line for each flag."""
  lines = [doc.strip(), "", "flags:"]
  by_module = dict(flags.FLAGS.flags_by_module_dict())
  own = ("__main__", "experiments.command_line.flags", *(m for m in by_module if m.startswith("experiments.")))
  for module in (program, *own):
    for flag in by_module.pop(module, []):
      if not flag.name.startswith("config."):
        default = "" if flag.default in (None, "", False) else f" (default {flag.default})"
        lines.append(f"  --{flag.name}: {flag.help}{default}")
  return "\n".join(lines)


def config_text(file: Path, config: ConfigDict) -> str:
  """Returns the docstring of a config's file and one line for each field, with its path, type, value and meaning."""
  doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
  lines = [f"{file}:", "", *(f"  {line}" for line in doc.splitlines()), "", "fields of --config:"]
  shared = schema.keys(config.family)
  for path, value in flatten(config.to_dict()).items():
    key = shared.get(path)
    meaning = "; ".join(filter(None, (key.doc, key.rule))) if key else choice_doc(config, path)
    lines.append(f"  --config.{path}: {type(value).__name__} = {value!r}  {meaning}")
  return "\n".join(lines)


def choice_doc(config: Any, path: str) -> str:
  """Describes a field of a section: the choices of a name, or an argument by its constructor's docstring."""
  if path.startswith("evaluate.metrics."):
    from common.evaluation.metrics.catalogue import SAMPLE_METRICS, constructor_of

    name, _, key = path.removeprefix("evaluate.metrics.").partition(".")
    made = constructor_of(SAMPLE_METRICS, name)
    return _argument(made, key) if key else _summary(made)
  section, _, key = path.partition(".")
  table = choices(config.family).get(section)
  if table is None:
    return ""
  if section == "penalties":  # a section of sections, named by their keys
    name, _, key = key.partition(".")
    settings, constructor = config[section][name], table[name]
  else:
    settings = config[section]
    constructor = table[settings.name]
    if key == "name":
      return f"one of {', '.join(table)}: {_summary(constructor)}"
  if not key:
    return _summary(constructor)
  argument, _, part = key.partition(".")
  if part == "name":
    return f"one of {', '.join(SCHEDULES)}: {_summary(SCHEDULES[settings[argument].name])}"
  return f"the argument {part} of the schedule" if part else _argument(constructor, key)


def _summary(constructor: Callable[..., Any]) -> str:
  return (inspect.getdoc(constructor) or "").partition("\n")[0]


def _argument(constructor: Callable[..., Any], key: str) -> str:
  """Returns the paragraph ``key: ...`` of the docstring, or of a base class's; else the argument's type."""
  doc = "\n".join(inspect.getdoc(made) or "" for made in getattr(constructor, "__mro__", (constructor,)))
  described = re.search(rf"^( +){key}: (.*(?:\n\1 +\S.*)*)", doc, re.M)
  if described:
    return " ".join(described[2].split())
  annotation = parameters(constructor)[key].annotation
  return getattr(annotation, "__name__", str(annotation))
