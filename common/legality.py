"""Which values of two fields of a config do not go together: a family's rules, read before anything is built.

A rule sees the values of its two fields and nothing else, so that a config is legal where each pair of its values is.
There is no JAX here.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple


class Data(NamedTuple):
  """The value of ``data.name``."""

  name: str
  kind: str
  num_classes: int


class Rule(NamedTuple):
  """Two fields, the pairs of values that do not go together, why, and what to do.

  A way out begins with settings as they are typed, which a test follows; "or" and "," stand between alternatives, "and"
  between settings that go together.
  """

  first: str
  second: str
  clash: Callable[[Any, Any], bool]
  why: str
  way_out: str


def typed(field: str, **section: Any) -> str:
  """A setting of a section, for a way out, as it is typed in a shell: --config.prior="{'name': 'none'}"."""
  return f'--config.{field}="{section}"'


def clashes(rules: Iterable[Rule], found: Mapping[str, Any]) -> list[str]:
  """The pairs of ``found``, {field: value}, that do not go together, one line each: fields, values, why, the way out.

  A rule of a field that is not there does not speak.
  """
  return [
    f"{_shown(rule.first, found)} does not go with {_shown(rule.second, found)}: {rule.why}; take {rule.way_out}"
    for rule in rules
    if rule.first in found and rule.second in found and rule.clash(found[rule.first], found[rule.second])
  ]


def _shown(field: str, found: Mapping[str, Any]) -> str:
  value = found[field]
  if field == "data.image_size":
    value = value[0] if value[0] == value[1] else f"{value[0]}x{value[1]}"
  elif isinstance(value, Data):
    value = f'"{value.name}"'
  elif isinstance(value, str):
    value = f'"{value}"'
  elif hasattr(value, "items"):
    value = dict(value)
  return f"config.{field}={value}"
