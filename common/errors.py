"""The errors that end a command. No JAX here: a wrong setting should not wait for its import."""

import difflib
from collections.abc import Iterable


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
