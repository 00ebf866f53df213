"""The text of --help: the command's docstring and flags, and the fields of the config that it names."""

import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from common.build import choose, parameters
from common.data.degradations import DEGRADATIONS
from common.evaluation.metrics.catalogue import SAMPLE_METRICS, constructor_of
from common.schedules import SCHEDULES
from common.training.workdir import flatten
from configs import schema
from experiments import choices

# Arguments that the families pass to constructors, from the data and from other sections; a config cannot set them.
_PASSED = (
  *("image_shape", "pixel_range", "kind", "num_classes", "dtype", "axis_name", "bn_axis_name", "dataset"),
  *("label_head", "num_stats", "num_params", "vocabulary"),
)
# Of a prior, of a network that restores, or of the maps of what is seen; others have defaults for them.
_PASSED_IF_REQUIRED = ("z_dim", "num_codes", "code_dim", "scale", "channels", "blocks")


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
  """Returns the docstring of a config's file and one line for each field, with its path, type, value and meaning.

  Raises:
    ConfigError: a section names an unknown choice.
  """
  doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
  lines = [f"{file}:", "", *(f"  {line}" for line in doc.splitlines()), ""]
  lines.append("fields of --config, with (default) where the config leaves an argument at its constructor's default:")
  shared = schema.keys(config.family)
  fields = {path: f"{type(value).__name__} = {value!r}" for path, value in flatten(config.to_dict()).items()}
  for path, default in arguments_left_out(config).items():
    required = default is inspect.Parameter.empty
    fields[path] = "required" if required else f"{type(default).__name__} = {default!r} (default)"
  for path, value in sorted(fields.items()):
    key = shared.get(path)
    meaning = "; ".join(filter(None, (key.doc, key.rule))) if key else choice_doc(config, path)
    lines.append(f"  --config.{path}: {value}  {meaning}")
    if path == "data.degradation":
      lines += [f"    {text}" for text in _steps(config)]
  return "\n".join(lines)


def _steps(config: ConfigDict) -> list[str]:
  """Describes the sections of config.data.degradation and their arguments."""
  texts = []
  for number, section in enumerate(config.data.degradation):
    field = f"config.data.degradation[{number}].name"
    constructor = choose(DEGRADATIONS, dict(section).get("name", ""), field)
    arguments = (f"{key}: {_argument(constructor, key)}" for key in parameters(constructor))
    texts.append("; ".join([f"[{number}] {section['name']}: {_summary(constructor)}", *arguments]))
  return texts


def arguments_left_out(config: ConfigDict) -> dict[str, Any]:
  """Returns {path: default} of the arguments that a config may set and does not; required ones have Parameter.empty."""
  left_out = {}
  for path, constructor in _constructors(config).items():
    settings = schema.value_at(config, path)
    for argument, parameter in parameters(constructor).items() if isinstance(settings, ConfigDict) else ():
      required = parameter.default is parameter.empty
      if argument not in (*settings, *_PASSED, *(_PASSED_IF_REQUIRED if required else ())):
        left_out[f"{path}.{argument}"] = parameter.default
  return left_out


def choice_doc(config: ConfigDict, path: str) -> str:
  """Describes a field of a section: the choices of a name, or an argument by its constructor's docstring."""
  constructors = _constructors(config)
  section, _, key = path.rpartition(".")
  if path in constructors:  # a section without arguments
    return _summary(constructors[path])
  if section not in constructors:
    return ""
  if key == "name":
    table = choices(config.family).get(section, SCHEDULES)
    return f"one of {', '.join(table)}: {_summary(constructors[section])}"
  if constructors[section] in SCHEDULES.values():
    return f"the argument {key} of the schedule"
  return _argument(constructors[section], key)


def _constructors(config: ConfigDict) -> dict[str, Callable[..., Any]]:
  """Returns {path of a section: the constructor that it chooses}; those of NAMED_BY_KEY are named by their keys."""
  constructors = {}
  for section, table in choices(config.family).items():
    if section in schema.NAMED_BY_KEY:
      for name in schema.value_at(config, section):
        constructors[f"{section}.{name}"] = choose(table, name, f"config.{section}")
    elif schema.value_at(config, section) is not None:
      constructors[section] = choose(table, schema.value_at(config, f"{section}.name"), f"config.{section}.name")
  for name in config.evaluate.metrics:
    choose(SAMPLE_METRICS, name, "config.evaluate.metrics")
    constructors[f"evaluate.metrics.{name}"] = constructor_of(SAMPLE_METRICS, name)
  for path, settings in [(path, schema.value_at(config, path)) for path in constructors]:
    for argument, value in settings.items() if isinstance(settings, ConfigDict) else ():
      if isinstance(value, ConfigDict):
        field = f"{path}.{argument}"
        constructors[field] = choose(SCHEDULES, schema.value_at(value, "name"), f"config.{field}.name")
  return constructors


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
