"""From a config's section ``{name, **kwargs}`` to an object: the constructor's signature is the schema."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class ConfigError(ValueError):
  """A setting that cannot be used; its text names the field, the value, the rule and the way out."""


def nearest(word: str, words: Iterable[str]) -> str:
  """``did you mean "x"?`` where one of ``words`` is close to ``word``, else an empty string."""
  close = difflib.get_close_matches(word, list(words), n=1)
  return f'; did you mean "{close[0]}"?' if close else ""


def parameters(constructor: Callable[..., Any]) -> dict[str, inspect.Parameter]:
  """The keyword parameters that a section of a config may set."""
  # Of a flax module, "parent" and "name" belong to flax.
  return {
    name: parameter
    for name, parameter in inspect.signature(constructor).parameters.items()
    if parameter.kind is not inspect.Parameter.POSITIONAL_ONLY and name not in ("parent", "name")
  }


def build(table: Mapping[str, Callable[..., T]], section: Mapping[str, Any], path: str, **context: Any) -> T:
  """Calls the constructor that ``section["name"]`` names in ``table`` with the section's other keys.

  Args:
    table: the choices, name -> constructor.
    section: ``{name, **kwargs}`` from a config.
    path: where the section stands in the config, for errors.
    **context: what the code passes (shapes, axis names); given only to constructors that take it.

  Raises:
    ConfigError: unknown name, unknown or missing key, or a value that the constructor refuses.
  """
  kwargs = dict(section)
  name = kwargs.pop("name", None)
  if name not in table:
    raise ConfigError(
      f'config.{path}.name="{name}" is not one of {", ".join(sorted(table))}{nearest(str(name), table)}'
    )
  allowed = parameters(table[name])
  settable = [key for key in allowed if key not in context]
  for key in kwargs:
    if key not in settable:
      choices = ", ".join(settable) or "nothing"
      raise ConfigError(f'config.{path}.{key} is unknown: "{name}" takes {choices}{nearest(key, settable)}')
  missing = [k for k in settable if allowed[k].default is inspect.Parameter.empty and k not in kwargs]
  if missing:
    raise ConfigError(f'config.{path} lacks {", ".join(missing)}, which "{name}" needs')
  try:
    return table[name](**kwargs, **{key: value for key, value in context.items() if key in allowed})
  except ConfigError as error:
    raise ConfigError(f"config.{path}: {error}") from None
