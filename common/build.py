"""From a config's section ``{name, **kwargs}`` to an object: the constructor's signature is the schema."""

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, get_args, get_origin

from common.errors import ConfigError, nearest

T = TypeVar("T")


def parameters(constructor: Callable[..., Any]) -> dict[str, inspect.Parameter]:
  """The keyword parameters that a section of a config may set."""
  # Of a flax module, "parent" and "name" belong to flax.
  return {
    name: parameter
    for name, parameter in inspect.signature(constructor).parameters.items()
    if parameter.kind is not inspect.Parameter.POSITIONAL_ONLY and name not in ("parent", "name")
  }


def choose(table: Mapping[str, T], name: str, field: str) -> T:
  """``table[name]``; ``field`` is the config's key.

  Raises:
    ConfigError: listing the choices.
  """
  if name not in table:
    raise ConfigError(f'{field}="{name}" is not one of {", ".join(sorted(table))}{nearest(str(name), table)}')
  return table[name]


def build(table: Mapping[str, Callable[..., T]], section: Mapping[str, Any], path: str, **context: Any) -> T:
  """Calls the constructor that ``section["name"]`` names in ``table`` with the section's other keys.

  Args:
    table: the choices, name -> constructor.
    section: ``{name, **kwargs}`` from a config.
    path: where the section stands in the config, for errors.
    **context: what the code passes (shapes, axis names); given only to constructors that take it.

  A constructor's text may advise arguments of its own as "--.key=value", which become "--config.PATH.key=value".

  Raises:
    ConfigError: unknown name, unknown or missing key, a value of another type than the constructor's annotation, or
      one that the constructor refuses.
  """
  if not _is_section(section):
    raise ConfigError(f"config.{path}={section!r} is not a section {{'name': ..., 'key': value}}")
  kwargs = dict(section)
  name = kwargs.pop("name", None)
  constructor = choose(table, name, f"config.{path}.name")
  allowed = parameters(constructor)
  settable = [key for key in allowed if key not in context]
  for key, value in kwargs.items():
    if key not in settable:
      choices = ", ".join(settable) or "nothing"
      raise ConfigError(f'config.{path}.{key} is unknown: "{name}" takes {choices}{nearest(key, settable)}')
    if rule := _broken_rule(value, allowed[key].annotation) or _broken_by_name(key, value):
      raise ConfigError(f"config.{path}.{key}={value!r} must be {rule}")
  missing = [k for k in settable if allowed[k].default is inspect.Parameter.empty and k not in kwargs]
  if missing:
    raise ConfigError(f'config.{path} lacks {", ".join(missing)}, which "{name}" needs')
  try:
    return constructor(**kwargs, **{key: value for key, value in context.items() if key in allowed})
  except ValueError as error:  # a ConfigError is one
    # Of a section within this one (a schedule), the text starts with a path already.
    text = str(error).replace("--.", f"--config.{path}.")
    inner = text.startswith("config.")
    raise ConfigError(f"config.{path}.{text.removeprefix('config.')}" if inner else f"config.{path}: {text}") from None


@contextlib.contextmanager
def within(path: str) -> Iterator[None]:
  """Names the section of a network in what it refuses while it is traced, unless the text names a field itself."""
  try:
    yield
  except ConfigError as error:
    text = str(error).replace("--.", f"--config.{path}.")
    raise ConfigError(text if text.startswith("config.") else f"config.{path}: {text}") from None
  except ZeroDivisionError:  # of initializers, whose deviations are by the size of a layer
    raise ConfigError(f"config.{path}: a size or width in it is 0, and must be 1 or more") from None


# What an annotation lets a config say, and in words. Whole numbers are sizes and counts, so none is negative.
_RULES: dict[Any, tuple[str, Callable[[Any], bool]]] = {
  bool: ("True or False", lambda v: isinstance(v, bool)),
  int: ("a whole number, 0 or more", lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0),
  float: ("a finite number", lambda v: isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)),
  str: ("a text", lambda v: isinstance(v, str)),
  Mapping: ("a section", lambda v: _is_section(v)),
}


# What arguments of these names must be, whoever takes them; a schedule is judged by its own rules.
_BY_NAME: dict[str, tuple[str, Callable[[float], bool]]] = {
  **dict.fromkeys(("eps", "bn_epsilon"), ("0 or more", lambda v: v >= 0)),
  **dict.fromkeys(("momentum", "bn_momentum"), ("at least 0 and below 1", lambda v: 0 <= v < 1)),
}


def _broken_by_name(key: str, value: Any) -> str:
  rule, holds = _BY_NAME.get(key, ("", lambda v: True))
  return "" if not isinstance(value, int | float) or holds(value) else rule


def _is_section(value: Any) -> bool:
  return hasattr(value, "items")  # a ConfigDict is no Mapping


def _broken_rule(value: Any, annotation: Any) -> str:
  """What ``value`` must be by the annotation ``int``, ``float | Mapping[str, Any]``, ``tuple[int, ...]``; or ""."""
  kind, parts = get_origin(annotation) or annotation, get_args(annotation)
  if kind is tuple:
    inner = _RULES[parts[0]]
    fits = isinstance(value, tuple | list) and (parts[-1] is ... or len(value) == len(parts))
    return "" if fits and all(inner[1](item) for item in value) else f"a tuple, each item {inner[0]}"
  kinds = [kind] if kind in _RULES else [get_origin(part) or part for part in parts]
  if not kinds or any(_RULES[kind][1](value) for kind in kinds):
    return ""
  return " or ".join(_RULES[kind][0] for kind in kinds)
