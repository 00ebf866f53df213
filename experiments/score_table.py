"""What a person reads of scores: a row for each with its interval and its floor, and their protocol below."""

import textwrap
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np

from common.training.workdir import flatten
from experiments.comparison import kind, name_of

Record = dict[str, Any]
WIDTH = 110


def table(found: list[Record]) -> str:
  """The records as text; a floor stands beside the scores of its metric under the same settings."""
  floors = {_kind(record): _figure(record["value"]) for record in found if "real" in record["source"]}
  scores = [record for record in found if "real" not in record["source"]]
  lines = []
  for name in dict.fromkeys(map(name_of, scores)):
    rows = [("metric", "value", "95 % interval", "floor")] + [
      (kind(record["metric"]), _figure(record["value"]), _interval(record["interval"]), floors.get(_kind(record), "-"))
      for record in scores
      if name_of(record) == name
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    lines += [name, *("  " + "  ".join(row).rstrip() for row in cells), ""]
  return "\n".join([*lines, *(_below(scores) if scores else ())])


def calibration(record: Record) -> str:
  """What real pictures of only some of the modes read; empty for a score that has no such thing."""
  found = record.get("calibration", "")
  if not found or isinstance(found, str):
    return found
  read = (f"{row['true']:,} read {row['modes']:,.0f} (KL {row['modes_kl']:.3f})" for row in found)
  return f"of real pictures of so many modes, {', '.join(read)}"


def _kind(record: Record) -> tuple[str, str]:
  return record["metric"], str(record["settings"])


def _figure(value: Any) -> str:
  """A number, or of an array its shape and its least and greatest entry: the whole is in the JSON."""
  array = np.asarray(value, np.float64)
  if not array.ndim:
    return f"{array:.5g}"
  return f"[{' x '.join(map(str, array.shape))}] {array.min():.5g} .. {array.max():.5g}"


def _interval(interval: list[float] | None) -> str:
  return f"{interval[0]:.5g} .. {interval[1]:.5g}" if interval else "-"


def _below(scores: list[Record]) -> Iterable[str]:
  """The protocol, settings and origins of intervals: once what all scores share, then what groups of them have."""
  protocols = [flatten(record["protocol"]) for record in scores]
  shared = {key: value for key, value in protocols[0].items() if all(key in p and p[key] == value for p in protocols)}
  yield from _wrapped(f"protocol: {_words(shared)}")
  parts: tuple[tuple[str, Callable[[Record], str]], ...] = (
    ("protocol", lambda record: _words(flatten(record["protocol"]), shared)),
    ("settings", lambda record: _words(record["settings"])),
    ("interval", lambda record: record["interval_method"]),
    ("calibration", calibration),
  )
  for title, said in parts:
    groups: dict[str, list[str]] = {}
    for record in scores:
      groups.setdefault(said(record), []).append(kind(record["metric"]))
    for words, metrics in groups.items():
      names = list(dict.fromkeys(metrics))
      more = f" and {len(names) - 4} more" if len(names) > 5 else ""
      if words:
        yield from _wrapped(f"{title} of {', '.join(names[:4] if more else names)}{more}: {words}")


def _words(fields: Record, without: Collection[str] = ()) -> str:
  return "; ".join(f"{key} {value}" for key, value in fields.items() if key not in without)


def _wrapped(text: str) -> list[str]:
  return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
