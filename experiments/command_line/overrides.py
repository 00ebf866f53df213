"""Checks the overrides of a config, --config.section.key=value, and sets those that absl cannot set."""

import ast
import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from common.errors import ConfigError, nearest
from configs import schema


def apply_overrides(config: ConfigDict, words: Mapping[str, str]) -> list[str]:
  """Checks overrides, {path: the word --config.path=value}; returns the words that are left for absl to set.

  A section is set before its arguments, in whichever order they are typed.

  Raises:
    ConfigError: an unknown field, or a value of another type.
  """
  sections_first = sorted(words, key=lambda path: path.count("."))
  return [words[path] for path in sections_first if not _set(config, path, words[path])]


def _set(config: ConfigDict, path: str, word: str) -> bool:
  """Checks an override; if absl cannot set its value, sets it and returns True.

  Such values are whole sections and, in the section of a choice (``{"name": ...}``, a penalty, a metric), arguments
  that the config leaves out and values of another kind (a schedule for a number), which the constructor checks later.
  """
  _, equals, text = word.partition("=")
  if not equals:
    raise ConfigError(f"--config.{path} has no value; write --config.{path}=value")
  if path == "family":
    raise ConfigError(
      f'config.family={text}: the config has the keys of its own family, "{config.family}"; take another --config'
    )
  parent, _, key = path.rpartition(".")
  section: Any = config
  for part in parent.split(".") if parent else []:
    _check_known(section, part, path)
    section = section[part]
  free = key.isidentifier() and key != "name" and _is_choice(section, parent)
  if not free:
    _check_known(section, key, path)
  value = _literal(text)
  if free and (key not in section or _of_another_kind(value, section[key])):
    with config.unlocked(), section.ignore_type():
      section[key] = ConfigDict(value) if isinstance(value, Mapping) else value
  elif not isinstance(section[key], ConfigDict):
    _check_value(section[key], path, text)
    return False
  elif schema.is_shared(path):
    raise ConfigError(f"config.{path} is a shared section; set its keys one by one: --config.{path}.KEY=value")
  elif isinstance(value, Mapping):
    section[key] = ConfigDict(value)
  else:
    form = "{'...': {'key': value}}" if path in schema.NAMED_BY_KEY else "{'name': '...', 'key': value}"
    raise ConfigError(f'config.{path}={text} is not a section; write --config.{path}="{form}"')
  return True


def _of_another_kind(value: Any, old: Any) -> bool:
  """Whether a section replaces a value, a value a section, or a fraction a whole number."""
  return isinstance(old, ConfigDict) != isinstance(value, Mapping) or (type(old), type(value)) == (int, float)


def _is_choice(section: Any, path: str) -> bool:
  named = isinstance(section, ConfigDict) and "name" in section and not schema.is_shared(path)
  return named or path.startswith(schema.NAMED_BY_KEY)


def _literal(text: str) -> Any:
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text


def _check_known(section: Any, key: str, path: str) -> None:
  if not isinstance(section, ConfigDict) or key not in section:
    known = list(section) if isinstance(section, ConfigDict) else []
    choices = ", ".join(known) or "no keys below it"
    longer = [name for name in known if name.endswith(f"_{key}")]  # of a GAN's two networks
    hint = f"; did you mean {' or '.join(longer)}?" if longer else nearest(key, known)
    raise ConfigError(f"config.{path} is unknown: there are {choices}{hint}")


def _check_value(default: Any, path: str, text: str) -> None:
  """Raises ConfigError if the text is not a number or truth value like ``default``; other types have later rules."""
  if isinstance(default, bool):
    if text.lower() not in ("true", "false", "t", "f", "1", "0"):
      raise ConfigError(f"config.{path}={text} must be True or False")
  elif isinstance(default, int | float):
    kind, name = (int, "whole") if isinstance(default, int) else (float, "finite")
    try:
      if math.isfinite(kind(text)):
        return
    except ValueError:
      pass
    raise ConfigError(f"config.{path}={text} must be a {name} number")
