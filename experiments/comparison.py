"""Tables of scores that may be ranked: one table a metric and protocol, and a refusal that says where two differ."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import files
from common.errors import ConfigError, nearest
from common.evaluation import records
from common.evaluation.metrics.estimate import paired_difference
from common.evaluation.validation import PROTOCOL
from common.training.workdir import flatten
from experiments.command_line import flags as command_line

Record = dict[str, Any]

MEASURED = ("extractor_accuracy", "extractor_accuracy_real")  # of the protocol: they follow from the rest of it


def compare(paths: list[Path], ignore: list[str], out: str) -> int:
  """Prints the tables of all scores in workdirs or files of records, and writes them to ``out`` where it is given.

  Returns:
    The exit code: 1 where a metric is of protocols that differ, which are then not ranked together; else 0.

  Raises:
    ConfigError: nothing to compare there, or a field to ignore that no protocol has.
  """
  found = [record for path in paths for record in read_records(path)]
  fields = {field for record in found for field in comparable(record, [])}
  for field in ignore:
    if field not in fields:
      raise ConfigError(f'--ignore: "{field}" is not one of {", ".join(sorted(fields))}{nearest(field, fields)}')
  tables, refusals = [], []
  for metric in dict.fromkeys(kind(record["metric"]) for record in found):
    rows = latest(record for record in found if kind(record["metric"]) == metric)
    groups = by_protocol(rows, ignore)
    tables += [{"metric": metric, "rows": ranked(group)} for group in groups]
    refusals += differences(metric, groups)
  curves = [curve for path in paths for curve in curves_of(path)]
  first, *others = (per_image_of(path) for path in paths)
  pairs = [pair for other in others for pair in paired(first, other)]
  text = document(tables, refusals, curves, pairs)
  if out:
    command_line.make_directory("out", Path(out))
    files.write(Path(out) / "table.md", text)
    whole = {"tables": tables, "not_ranked": refusals, "curves": curves, "paired": pairs}
    files.write(Path(out) / "table.json", json.dumps(whole, indent=1) + "\n")
  print(text)
  return int(bool(refusals))


def read_records(path: Path) -> list[Record]:
  """The lines of a workdir's evaluations.jsonl, or of a file.

  Raises:
    ConfigError: no such file, or a line that is no record.
  """
  file = path / records.FILE if path.is_dir() else path
  if not file.is_file():
    raise ConfigError(f"--compare: {file} does not exist; run python -m experiments.evaluate --workdir={path} first")
  found = []
  for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
    try:
      record = json.loads(line)
      missing = {"metric", "value", "protocol", "settings", "source"} - set(record)
    except (ValueError, TypeError) as error:
      raise ConfigError(f"--compare: line {number} of {file} is not JSON ({error}); delete it") from None
    if not missing and not isinstance(record["value"], list):
      found.append(record)
  if not found:
    raise ConfigError(f"--compare: {file} has no scores")
  return found


def kind(metric: str) -> str:
  """The metric without its extractor, whose weights the protocol names."""
  return metric.partition("@")[0]


def latest(found: Iterable[Record]) -> list[Record]:
  """One row of each source and protocol, the last written."""
  rows: dict[str, Record] = {}
  for record in found:
    key = json.dumps([record["source"], comparable(record, []), record["seed"]], sort_keys=True)
    rows[key] = record
  return list(rows.values())


def stated(record: Record) -> dict[str, Any]:
  """The protocol and settings of a row."""
  return flatten({**record["protocol"], **{f"setting {key}": value for key, value in record["settings"].items()}})


def comparable(record: Record, ignore: list[str]) -> dict[str, Any]:
  """What must be the same in two rows; of real pictures nothing is drawn, so they keep what they have.

  Which files were read is left open: what makes a difference between them is the quantization.
  """
  whole = {key: value for key, value in stated(record).items() if key not in (*ignore, *MEASURED)}
  return {key: value for key, value in whole.items() if key.partition(".")[0] != "files"}


def by_protocol(rows: list[Record], ignore: list[str]) -> list[list[Record]]:
  """Rows that may be ranked together; each group with the floors, and the pictures from files, that fit it.

  Nobody knows how pictures in files were drawn, and real pictures are not drawn at all: the protocol's keys on drawing
  are not compared for them. A floor may have fewer pictures than its group, which its name then says, and it fits a
  group of any quantization.
  """
  groups: dict[str, list[Record]] = {}
  open_rows = [row for row in rows if "real" in row["source"] or "samples" in row["source"]]
  for row in rows:
    if row not in open_rows:
      groups.setdefault(json.dumps(comparable(row, ignore), sort_keys=True), []).append(row)
  runs = list(groups.values())
  for row in sorted(open_rows, key=lambda row: "real" in row["source"]):
    real, whole = "real" in row["source"], comparable(row, ignore)
    left = {"n_fake", "quantization"} if real else set()
    known = {key: value for key, value in whole.items() if value != "files" and key not in left}
    # What is open in files fits any run, but not other files: JPEG has no place beside PNG.
    places = list(groups.values()) if real else runs
    hosts = [group for group in places if known.items() <= comparable(group[0], ignore).items()]
    for group in hosts:
      group.append(row)
    if not hosts and not real:
      groups.setdefault(json.dumps(whole, sort_keys=True), []).append(row)
  return list(groups.values())


def ranked(group: list[Record]) -> list[Record]:
  """Best first, floors last; the order they came in where a metric has no better end."""
  better = group[0]["better"]
  sign = {"min": 1.0, "max": -1.0, "": 0.0}[better]
  return sorted(group, key=lambda row: ("real" in row["source"], sign * row["value"] if sign else 0.0))


def differences(metric: str, groups: list[list[Record]]) -> list[str]:
  """A line for each group that is not ranked with the first, naming the fields."""
  lines, first = [], groups[0] if groups else []
  for other in groups[1:]:
    a, b = comparable(first[0], []), comparable(other[0], [])
    fields = [f"{key}: {a.get(key, '-')} against {b.get(key, '-')}" for key in {**a, **b} if a.get(key) != b.get(key)]
    lines.append(f"{metric}: {name_of(first[0])} and {name_of(other[0])} differ in {'; '.join(fields)}")
  return lines


def name_of(record: Record) -> str:
  """The source of a row, for a reader."""
  source = record["source"]
  if "real" in source:
    return f"floor: {record['protocol']['n_fake']:,} real {source['real']} pictures"
  if "samples" in source:
    return source["samples"]
  return f"{source['workdir']} {source['checkpoint']} (step {source['step']:,})"


def curves_of(path: Path) -> list[Record]:
  """Best and last value on the validation curve of each metric of a run, so that a collapse after the best shows."""
  file = path / "metrics.jsonl"
  if not file.is_file():
    return []
  lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
  lines = [line for line in lines if line["split"] == "validation"]
  protocol_file = path / PROTOCOL
  better = json.loads(protocol_file.read_text(encoding="utf-8"))["better"] if protocol_file.is_file() else {}
  curves = []
  for name, end in better.items():
    points = [(line["step"], line[name]) for line in lines if name in line]
    if points and end:
      best = (min if end == "min" else max)(points, key=lambda point: point[1])
      curves.append({"run": str(path), "metric": name, "best": best, "last": points[-1], "points": points})
  return curves


def per_image_of(workdir: Path, step: int | None = None) -> dict[str, Path]:
  """A run's per-image figures, {METRIC-PROTOCOL: file}, at a step, or of each the last there is."""
  files = sorted((workdir / records.PER_IMAGE).glob("*.npz" if step is None else f"*-{step:08d}.npz"))
  return {file.name.rpartition("-")[0]: file for file in files}


def paired(first: Mapping[str, Path], second: Mapping[str, Path]) -> list[Record]:
  """Differences, first minus second, of what two runs have of the same figures of the same images."""
  pairs = []
  for name in sorted(first.keys() & second.keys()):
    with np.load(first[name], allow_pickle=False) as a, np.load(second[name], allow_pickle=False) as b:
      for key in a.files:
        if key != "about" and key in b.files:
          gap = paired_difference(a[key], b[key])
          pairs.append(
            {
              "metric": key,
              "protocol": str(a["about"]),
              "first": str(first[name]),
              "second": str(second[name]),
              "difference": gap.mean,
              "standard_error": gap.standard_error,
              "images": gap.count,
            }
          )
  return pairs


def document(tables: list[Record], refusals: list[str], curves: list[Record], pairs: list[Record]) -> str:
  """Markdown."""
  lines = []
  for table in tables:
    first = table["rows"][0]
    arrow = {"min": "lower is better", "max": "higher is better", "": "not a quality"}[first["better"]]
    lines += [f"## {first['metric']} ({arrow})", "", "| of | value | 95 % |", "|---|---|---|"]
    for row in table["rows"]:
      interval = f"{row['interval'][0]:.5g} .. {row['interval'][1]:.5g}" if row["interval"] else "-"
      lines.append(f"| {name_of(row)} | {row['value']:.5g} | {interval} |")
    said = "; ".join(f"{key} {value}" for key, value in stated(first).items())
    lines += ["", f"Protocol: {said}; interval from {first['interval_method'] or 'nothing'}.", ""]
  if curves:
    lines += ["## Validation curves", "", "| run | metric | best | last |", "|---|---|---|---|"]
    for curve in curves:
      (best_step, best), (last_step, last) = curve["best"], curve["last"]
      lines.append(
        f"| {curve['run']} | {curve['metric']} | {best:.5g} (step {best_step:,}) | {last:.5g} (step {last_step:,}) |"
      )
    lines.append("")
  if pairs:
    lines += ["## Paired differences, first minus second, on the same images", ""]
    lines += ["| figure | first | second | difference | standard error | images |", "|---|---|---|---|---|---|"]
    for pair in pairs:
      lines.append(
        f"| {pair['metric']} | {pair['first']} | {pair['second']} | {pair['difference']:.5g} | "
        f"{pair['standard_error']:.2g} | {pair['images']:,} |"
      )
    lines.append("")
  if refusals:
    lines += ["## Not ranked together", "", *(f"- {line}" for line in refusals)]
    lines += ["", "--ignore=FIELD ranks across a field of the protocol.", ""]
  return "\n".join(lines)


def join_compared(words: list[str]) -> list[str]:
  """``--compare A B C`` as ``--compare=A,B,C``, which absl understands."""
  joined: list[str] = []
  for word in words:
    if joined and not word.startswith("-") and joined[-1].lstrip("-").startswith("compare"):
      joined[-1] += ("," if "=" in joined[-1] else "=") + word
    else:
      joined.append(word)
  return joined
