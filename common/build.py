"""Builds objects from config sections ``{name, **kwargs}``; the constructor's signature is the schema."""

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, get_args, get_origin

from common.errors import ConfigError, nearest

T = TypeVar("T")


def parameters(constructor: Callable[..., Any]) -> dict[str, inspect.Parameter]:
  """Returns the parameters of ``constructor`` that a config section may set."""
  # Flax reserves "parent" and "name" of its modules.
  return {
    name: parameter
    for name, parameter in inspect.signature(constructor).parameters.items()
    if parameter.kind is not inspect.Parameter.POSITIONAL_ONLY and name not in ("parent", "name")
  }


def choose(table: Mapping[str, T], name: str, field: str) -> T:
  """Returns ``table[name]``; ``field`` is the key of the config, for errors.

  Raises:
    ConfigError: the table lacks the name; the text lists the choices.
  """
  if name not in table:
    raise ConfigError(f'{field}="{name}" is not one of {", ".join(sorted(table))}{nearest(str(name), table)}')
  return table[name]


def build(table: Mapping[str, Callable[..., T]], section: Mapping[str, Any], path: str, **context: Any) -> T:
  """Calls the constructor that ``section["name"]`` names in ``table`` with the section's other keys.

  Args:
    table: the choices, name -> constructor.
    section: ``{name, **kwargs}`` from a config.
    path: the section's path in the config, for errors.
    **context: arguments from the code (shapes, axis names), passed only to constructors that accept them.

  A constructor's error may recommend its own arguments as "--.key=value"; they become "--config.PATH.key=value".

  Raises:
    ConfigError: unknown name, unknown or missing key, or a value that does not match the constructor's annotation or
      that the constructor refuses.
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
      choices = ", ".join(settable) or "no arguments"
      raise ConfigError(f'config.{path}.{key} is unknown: "{name}" takes {choices}{nearest(key, settable)}')
    if rule := _broken_rule(value, allowed[key].annotation) or _broken_by_name(key, value):
      raise ConfigError(f"config.{path}.{key}={value!r} must be {rule}")
  missing = [k for k in settable if allowed[k].default is inspect.Parameter.empty and k not in kwargs]
  if missing:
    raise ConfigError(f'config.{path} lacks {", ".join(missing)}, which "{name}" needs')
  try:
    return constructor(**kwargs, **{key: value for key, value in context.items() if key in allowed})
  except ValueError as error:  # a ConfigError is one
    # An error in a nested section (a schedule) already starts with a path.
    text = str(error).replace("--.", f"--config.{path}.")
    inner = text.startswith("config.")
    raise ConfigError(f"config.{path}.{text.removeprefix('config.')}" if inner else f"config.{path}: {text}") from None


def build_each(
  table: Mapping[str, Callable[..., T]], sections: Mapping[str, Any], path: str, **context: Any
) -> dict[str, T]:
  """Builds {name: object} of ``{name: {arguments}}``, as `build` does; ConfigError: a name or an argument is wrong."""
  built = {}
  for name, arguments in sections.items():
    choose(table, name, f"config.{path}")
    if not _is_section(arguments):
      raise ConfigError(f"config.{path}.{name}={arguments!r} is not a section {{'argument': value}}")
    built[name] = build(table, {"name": name, **arguments}, f"{path}.{name}", **context)
  return built


@contextlib.contextmanager
def within(path: str) -> Iterator[None]:
  """Adds the section's path to errors that a network raises while it is traced, unless they name a field already."""
  try:
    yield
  except ConfigError as error:
    text = str(error).replace("--.", f"--config.{path}.")
    raise ConfigError(text if text.startswith("config.") else f"config.{path}: {text}") from None
  except ZeroDivisionError:  # raised by initializers that divide by the size of a layer
    raise ConfigError(f"config.{path}: a size or width in it is 0, and must be 1 or more") from None


# annotation -> (rule in words, test). Whole numbers are sizes and counts, so they must not be negative.
_RULES: dict[Any, tuple[str, Callable[[Any], bool]]] = {
  bool: ("True or False", lambda v: isinstance(v, bool)),
  int: ("a whole number, 0 or more", lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0),
  float: ("a finite number", lambda v: isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)),
  str: ("a text", lambda v: isinstance(v, str)),
  Mapping: ("a section", lambda v: _is_section(v)),
}


# Rules for arguments of these names in any constructor; a schedule has rules of its own.
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
  """Returns the rule of an annotation (``int``, ``tuple[int, ...]``, ...) that ``value`` breaks, or ""."""
  kind, parts = get_origin(annotation) or annotation, get_args(annotation)
  if kind is tuple:
    inner = _RULES[parts[0]]
    fits = isinstance(value, tuple | list) and (parts[-1] is ... or len(value) == len(parts))
    return "" if fits and all(inner[1](item) for item in value) else f"a tuple, each item {inner[0]}"
  if kind in _RULES:
    return "" if _RULES[kind][1](value) else _RULES[kind][0]
  rules = [_broken_rule(value, part) for part in parts]  # of a union; no rule is known for other annotations
  return " or ".join(rules) if all(rules) else ""
