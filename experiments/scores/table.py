"""Prints scores for a person: a row for each with its interval and its floor, and the protocol below."""

import textwrap
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

from common.evaluation.records import Record
from common.training.workdir import flatten
from experiments.scores.comparison import interval_of, is_floor, kind, name_of

WIDTH = 110


def table(lines: list[Record]) -> str:
  """Returns the records as text; a floor stands beside the scores of its metric under the same settings."""
  floors: dict[tuple[str, str], dict[str, str]] = {}  # {score: {name of a baseline: figure}}
  for record in filter(is_floor, lines):
    floors.setdefault(_kind(record), {})[record["source"].get("baseline", "")] = _figure(record["value"])
  scores = [record for record in lines if not is_floor(record)]
  text = []
  for name in dict.fromkeys(map(name_of, scores)):
    rows = [("metric", "value", "95 % interval", "floor")] + [
      (kind(record["metric"]), _figure(record["value"]), interval_of(record), _floor(floors.get(_kind(record), {})))
      for record in scores
      if name_of(record) == name
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    text += [name, *("  " + "  ".join(row).rstrip() for row in cells), ""]
  for part in _below(scores) if scores else ():
    text += textwrap.wrap(part, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
  return "\n".join(text)


def calibration(record: Record) -> str:
  """Says what real pictures of only some of the modes read; empty for a score without a calibration."""
  rows = record.get("calibration", "")
  if not rows or isinstance(rows, str):
    return rows
  read = (f"{row['true']:,} read {row['modes']:,.0f} (KL {row['modes_kl']:.3f})" for row in rows)
  return f"real pictures of some of the modes: {', '.join(read)}"


def _kind(record: Record) -> tuple[str, str]:
  return record["metric"], str(record["settings"])


def _floor(figures: dict[str, str]) -> str:
  """Joins the floors of a score, with their names if there are several."""
  named = len(figures) > 1
  return ", ".join(f"{figure} ({name})" if named else figure for name, figure in figures.items()) or "-"


def _figure(value: Any) -> str:
  """Formats a number, or of an array its shape and its least and greatest entry: the whole is in the JSON."""
  array = np.asarray(value, np.float64)
  if not array.ndim:
    return f"{array:.5g}"
  return f"[{' x '.join(map(str, array.shape))}] {array.min():.5g} .. {array.max():.5g}"


def _below(scores: list[Record]) -> Iterator[str]:
  """Yields the protocol that all scores share, then what only some of them have, with their names."""
  protocols = [flatten(record["protocol"]) for record in scores]
  shared = {key: value for key, value in protocols[0].items() if all(key in p and p[key] == value for p in protocols)}
  yield f"protocol: {_words(shared)}"
  parts: dict[str, Callable[[Record], str]] = {
    "protocol": lambda record: _words(flatten(record["protocol"]), shared),
    "settings": lambda record: _words(record["settings"]),
    "interval": lambda record: record["interval_method"],
    "calibration": calibration,
  }
  for title, said in parts.items():
    groups: dict[str, list[str]] = {}
    for record in scores:
      groups.setdefault(said(record), []).append(kind(record["metric"]))
    for words, metrics in groups.items():
      names = list(dict.fromkeys(metrics))
      more = f" and {len(names) - 4} more" if len(names) > 5 else ""
      if words:
        yield f"{title} of {', '.join(names[:4] if more else names)}{more}: {words}"


def _words(fields: Record, without: Collection[str] = ()) -> str:
  return "; ".join(f"{key} {value}" for key, value in fields.items() if key not in without)
