"""Which table a config's section chooses from: for --help, and for tests of all that can be named."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from common.build import parameters
from common.ema import EMAS
from common.schedules import SCHEDULES
from experiments import family


def tables(name: str) -> dict[str, Mapping[str, Callable[..., Any]]]:
  """{section: {name: constructor}} of a family: CHOICES of its module, where it has them."""
  return {"ema": EMAS, **getattr(family(name)[0], "CHOICES", {})}


def doc(config: Any, path: str) -> str:
  """One line on a field of a section: the choices of a name, or what the constructor says of an argument."""
  if path.startswith("evaluate.metrics."):
    from common.evaluation.metrics.catalogue import SAMPLE_METRICS, constructor_of

    name, _, key = path.removeprefix("evaluate.metrics.").partition(".")
    made = constructor_of(SAMPLE_METRICS, name)
    return _argument(made, key) if key else _summary(made)
  section, _, key = path.partition(".")
  table = tables(config.family).get(section)
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
  if table is SCHEDULES:
    return f"{key} of the schedule"
  argument, _, part = key.partition(".")
  if part:
    schedule = SCHEDULES[settings[argument].name]
    return f"one of {', '.join(SCHEDULES)}: {_summary(schedule)}" if part == "name" else f"{part} of the schedule"
  return _argument(constructor, key)


def _summary(constructor: Callable[..., Any]) -> str:
  return (inspect.getdoc(constructor) or "").partition("\n")[0]


def _argument(constructor: Callable[..., Any], key: str) -> str:
  """The line ``key: ...`` of the docstring's Attributes or Args, else the type."""
  for line in (inspect.getdoc(constructor) or "").splitlines():
    if line.strip().startswith(f"{key}:"):
      return line.strip().partition(":")[2].strip()
  annotation = parameters(constructor)[key].annotation
  return getattr(annotation, "__name__", str(annotation))
