"""Ranks scores: a table for each metric and protocol, and a line that says where two protocols differ."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.errors import ConfigError, nearest
from common.evaluation import records
from common.evaluation.metrics.estimate import Estimate, paired_difference
from common.evaluation.records import Record
from common.training.workdir import flatten

MEASURED = ("extractor_accuracy", "extractor_accuracy_real")  # of the protocol: they follow from its other fields


class Pair(NamedTuple):
  """The difference, first minus second, of one figure on the same images."""

  metric: str
  first: Path
  second: Path
  difference: Estimate


def compare(paths: list[Path], ignore: list[str]) -> int:
  """Prints, as Markdown, the tables of all scores in workdirs or files of records.

  Returns:
    The exit code: 1 if the protocols of a metric differ, so that its scores are not ranked together; else 0.

  Raises:
    ConfigError: there is nothing to compare, or no protocol has a field of ``ignore``.
  """
  lines = [record for path in paths for record in read_records(path)]
  fields = {field for record in lines for field in comparable(record, [])}
  for field in ignore:
    if field not in fields:
      raise ConfigError(f'--ignore: "{field}" is not one of {", ".join(sorted(fields))}{nearest(field, fields)}')
  text, refusals = [], []
  for metric in dict.fromkeys(kind(record["metric"]) for record in lines):
    groups = by_protocol(latest(record for record in lines if kind(record["metric"]) == metric), ignore)
    text += [line for group in groups for line in ranking(metric, group)]
    refusals += [f"- {metric}: {line}" for line in differences(groups)]
  first, *others = (per_image_of(path) for path in paths)
  if pairs := [pair for other in others for pair in paired(first, other)]:
    figures = [
      (pair.metric, str(pair.first), str(pair.second), f"{gap.mean:.5g}", f"{gap.standard_error:.2g}", f"{gap.count:,}")
      for pair in pairs
      for gap in [pair.difference]
    ]
    head = ("figure", "first", "second", "difference", "standard error", "images")
    text += ["## Paired differences, first minus second, on the same images", "", *markdown(head, figures), ""]
  if refusals:
    text += ["## Not ranked together", "", *refusals, "", "--ignore=FIELD ranks across a field of the protocol.", ""]
  print("\n".join(text))
  return int(bool(refusals))


def read_records(path: Path) -> list[Record]:
  """Reads the scores in a workdir's evaluations.jsonl, or in a file of such lines.

  Raises:
    ConfigError: a missing file, a line that is not JSON, or no scores.
  """
  file = path / records.FILE if path.is_dir() else path
  if not file.is_file():
    raise ConfigError(f"--compare: {file} does not exist; run python -m experiments.evaluate --workdir={path} first")
  scores = []
  for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
    try:
      record = json.loads(line)
      missing = {"metric", "value", "protocol", "settings", "source"} - set(record)
    except (ValueError, TypeError) as error:
      raise ConfigError(
        f"--compare: line {number} of {file} is not JSON ({error}); delete it, or name a workdir"
      ) from None
    if not missing and not isinstance(record["value"], list):
      scores.append(record)
  if not scores:
    raise ConfigError(f"--compare: {file} has no scores")
  return scores


def kind(metric: str) -> str:
  """Returns the metric without its extractor, whose weights the protocol names."""
  return metric.partition("@")[0]


def latest(lines: Iterable[Record]) -> list[Record]:
  """Keeps one record of each source and protocol, the last written."""
  keyed = {(str(record["source"]), record["seed"], _key(comparable(record, []))): record for record in lines}
  return list(keyed.values())


def stated(record: Record) -> dict[str, Any]:
  """Returns the protocol and settings of a record, flat."""
  return flatten({**record["protocol"], **{f"setting {key}": value for key, value in record["settings"].items()}})


def comparable(record: Record, ignore: list[str]) -> dict[str, Any]:
  """Returns the fields that must agree in two records; of image files only the quantization matters."""
  left_out = {*ignore, *MEASURED}
  return {k: v for k, v in stated(record).items() if k not in left_out and k.partition(".")[0] != "files"}


def _key(fields: Mapping[str, Any]) -> str:
  return json.dumps(fields, sort_keys=True)


def by_protocol(rows: list[Record], ignore: list[str]) -> list[list[Record]]:
  """Groups the records that may be ranked together, with the floors and the scores of files that fit each group.

  Real images are not drawn, and how the images in files were drawn is unknown: for both, the protocol's fields on
  drawing are not compared. A floor may have fewer images than its group, which its name then says, and it fits a group
  of any quantization.
  """
  groups: dict[str, list[Record]] = {}
  for row in rows:
    if "workdir" in row["source"]:
      groups.setdefault(_key(comparable(row, ignore)), []).append(row)
  runs = list(groups.values())
  for row in sorted((row for row in rows if "workdir" not in row["source"]), key=is_floor):
    fields = comparable(row, ignore)
    open_fields = {"n_fake", "quantization"} if is_floor(row) else set()
    known = {key: value for key, value in fields.items() if value != "files" and key not in open_fields}
    # Files may stand beside any run, but not beside other files: JPEG is not ranked with PNG.
    places = list(groups.values()) if is_floor(row) else runs
    hosts = [group for group in places if known.items() <= comparable(group[0], ignore).items()]
    for group in hosts:
      group.append(row)
    if not hosts and not is_floor(row):
      groups.setdefault(_key(fields), []).append(row)
  return list(groups.values())


def is_floor(record: Record) -> bool:
  """Whether real images, or what pictures were restored from, were scored in place of a model's."""
  return not {"real", "baseline"}.isdisjoint(record["source"])


def ranking(metric: str, group: list[Record]) -> list[str]:
  """Returns a Markdown table, best first and floors last; in the given order if neither end is better."""
  first = group[0]
  sign = {"min": 1.0, "max": -1.0, "": 0.0}[first["better"]]
  arrow = {"min": "lower is better", "max": "higher is better", "": "not a quality"}[first["better"]]
  group = sorted(group, key=lambda row: (is_floor(row), sign * row["value"] if sign else 0.0))
  rows = [(name_of(row), f"{row['value']:.5g}", interval_of(row)) for row in group]
  said = "; ".join(f"{key} {value}" for key, value in stated(group[0]).items())
  method = group[0]["interval_method"] or "nothing"
  table = markdown(("of", "value", "95 %"), rows)
  return [f"## {metric} ({arrow})", "", *table, "", f"Protocol: {said}; interval from {method}.", ""]


def interval_of(record: Record) -> str:
  """Returns "low .. high", or "-"."""
  return "{:.5g} .. {:.5g}".format(*record["interval"]) if record["interval"] else "-"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
  """Returns the lines of a table."""
  return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def differences(groups: list[list[Record]]) -> Iterator[str]:
  """Yields a line for each group that is not ranked with the first, naming the fields."""
  first, *others = (group[0] for group in groups)
  for other in others:
    a, b = comparable(first, []), comparable(other, [])
    fields = [f"{key}: {a.get(key, '-')} against {b.get(key, '-')}" for key in {**a, **b} if a.get(key) != b.get(key)]
    yield f"{name_of(first)} and {name_of(other)} differ in {'; '.join(fields)}"


def name_of(record: Record) -> str:
  """Names the source of a record for a reader."""
  source = record["source"]
  if "real" in source:
    return f"floor: {record['protocol']['n_fake']:,} real {source['real']} pictures"
  if "baseline" in source:
    return f"floor: {source['baseline']}"
  if "samples" in source:
    return source["samples"]
  return f"{source['workdir']} {source['checkpoint']} (step {source['step']:,})"


def per_image_of(workdir: Path, step: int | None = None) -> dict[str, Path]:
  """Returns {METRIC-PROTOCOL: file} of a run's per-image figures at a step, or the last of each."""
  files = sorted((workdir / records.PER_IMAGE).glob("*.npz" if step is None else f"*-{step:08d}.npz"))
  return {file.name.rpartition("-")[0]: file for file in files}


def paired(first: Mapping[str, Path], second: Mapping[str, Path]) -> Iterator[Pair]:
  """Yields the differences of the figures that two runs share, on the same images."""
  for name in sorted(first.keys() & second.keys()):
    with np.load(first[name], allow_pickle=False) as a, np.load(second[name], allow_pickle=False) as b:
      for key in a.files:
        if key != "about" and key in b.files:
          yield Pair(key, first[name], second[name], paired_difference(a[key], b[key]))
