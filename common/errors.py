"""The errors that end a command. No JAX here: a wrong setting should not wait for its import."""

import difflib
from collections.abc import Iterable
from typing import Any


class ConfigError(ValueError):
  """A setting that cannot be used; its text names the field, the value, the rule and the way out."""


class NonFiniteError(RuntimeError):
  """A loss, gradient, parameter or score stopped being finite; nothing of it was saved."""


class Interrupted(Exception):
  """A signal asked the run to stop, and it did, after saving."""


def nearest(word: str, words: Iterable[str]) -> str:
  """``did you mean "x"?`` where one of ``words`` is close to ``word``, else an empty string."""
  close = difflib.get_close_matches(word, list(words), n=1)
  return f'; did you mean "{close[0]}"?' if close else ""


def require(holds: bool, config: Any, first: str, second: str, why: str, way_out: str) -> None:
  """Raises ConfigError unless ``holds``: two fields of ``config``, as "prior.name", do not go together.

  ``way_out`` begins with settings as they are typed, which a test follows; "or" and "," stand between alternatives,
  "and" between settings that go together.
  """
  if not holds:
    fields = " does not go with ".join(f"config.{path}={_value(config, path)}" for path in (first, second))
    raise ConfigError(f"{fields}: {why}; take {way_out}")


def _value(config: Any, path: str) -> Any:
  for key in path.split("."):
    config = config[key]
  return f'"{config}"' if isinstance(config, str) else config
