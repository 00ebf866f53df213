"""Fills a table of a paper, row by row: python -m experiments.reproduce --table=lucic2018 --tier=A --root=runs/tables

`experiments.train` trains each row in a workdir of its own under --root, and `experiments.evaluate` scores its last and
best checkpoint; if a row names densities of its latents, they are trained and scored in the place of its prior. The
same command goes on where a kill or a Ctrl-C stopped it: finished rows stay, a training resumes to the bit. After each
row TABLE-TIER.md and .json are written to --root.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags

from common import files
from common.data.catalogue import open_source
from common.errors import ConfigError, nearest
from common.evaluation import records
from experiments.command_line import flags as command_line
from experiments.command_line.failures import EXIT_INTERRUPTED
from experiments.comparison import paired, per_image_of
from experiments.restore import read_config
from experiments.score_table import calibration
from experiments.tables import TABLES, Row, Table

FLAGS = flags.FLAGS


def define_flags() -> None:
  flags.DEFINE_string("table", "", f"one of {', '.join(TABLES)}")
  flags.DEFINE_string("tier", "A", "A: one seed, mostly shortened; B: the published length, several")
  flags.DEFINE_string("root", "runs/tables", "directory of all workdirs and tables")
  flags.DEFINE_list("rows", [], "names of rows, in the order to train them; empty for all")
  flags.DEFINE_string("data_dir", "", "where the data set lies; empty for the usual places")
  flags.DEFINE_bool("report", False, "train nothing, only write the table of what is there")


def main() -> int:
  command_line.required("table")
  command_line.required("root")
  if FLAGS.table not in TABLES:
    raise ConfigError(f'--table="{FLAGS.table}" is not one of {", ".join(TABLES)}{nearest(FLAGS.table, TABLES)}')
  table = TABLES[FLAGS.table]
  if FLAGS.tier not in table.tiers:
    raise ConfigError(f'--tier="{FLAGS.tier}" is not one of {", ".join(table.tiers)}')
  names = [row.name for row in table.rows if row.in_tier(FLAGS.tier)]
  for name in FLAGS.rows:
    if name not in names:
      raise ConfigError(f'--rows: "{name}" is not one of {", ".join(names)}{nearest(name, names)}')
  root = Path(FLAGS.root).absolute() / f"{FLAGS.table}-{FLAGS.tier}"
  command_line.make_directory("root", root)
  rows = [next(row for row in table.rows if row.name == name) for name in FLAGS.rows or names]
  for seed in () if FLAGS.report else table.seeds[FLAGS.tier]:
    for row in rows:
      code = reproduce(row, table, _workdir(row, root, seed), seed)
      write(table, root)
      if code:
        print(f"{row.name}, seed {seed}: stopped with code {code}; the same command goes on", file=sys.stderr)
        return code if code > 0 else EXIT_INTERRUPTED
  print(write(table, root))
  return 0


def reproduce(row: Row, table: Table, workdir: Path, seed: int) -> int:
  """Trains and scores one row unless that is done; returns the exit code of what stopped it, or 0.

  Raises:
    ConfigError: the run that this row is a stop of was sent on to a later one.
  """
  training, words = _words(row, table, seed)
  if _finished(row, table, workdir, seed):
    return 0
  tier = _tier(row, table)
  if row.run and "train.num_steps" in tier:
    _check_not_past(row, workdir, tier["train.num_steps"])
  _check_data(row)
  if FLAGS.data_dir:
    training.append(f"--config.data.dir={FLAGS.data_dir}")
  if code := _run("train", f"--workdir={workdir}", *training):
    return code
  before = _lines(workdir)
  for name, *given in _scorings(row, table, workdir, words):
    if code := _run(name, *given):
      return code
  record = {"time": round(time.time()), "made": _made(row, table, seed), "records": _lines(workdir)[len(before) :]}
  files.write(_done(row, workdir), json.dumps(record))
  return 0


def _scorings(row: Row, table: Table, workdir: Path, words: list[str]) -> Iterator[list[str]]:
  """The commands that score a trained row, each with its words: under its own prior, and under its fitted densities."""
  score = ["evaluate", *words, f"--workdir={workdir}"]
  for sampler in row.samplers:
    if sampler == "prior":
      yield score
      continue
    for checkpoint in table.checkpoints.split(","):
      density = workdir / f"{sampler}-{checkpoint}"
      latents = [f"--config.data.dir={workdir}", f"--config.data.name=latents:{checkpoint}"]
      yield ["train", f"--config=samplers:{sampler}", *latents, f"--workdir={density}"]
      yield [
        *score,
        f"--checkpoint={checkpoint}",
        f"--prior={density}",
      ]  # the second --checkpoint is the one that counts


def _tier(row: Row, table: Table) -> dict[str, Any]:
  """The settings of the tier, for this row."""
  return {**table.tiers[FLAGS.tier], **(row.tiers[FLAGS.tier] if row.tiers else {})}


def _words(row: Row, table: Table, seed: int) -> tuple[list[str], list[str]]:
  """The words of the command that trains the row, and of the one that scores it."""
  overrides = {**row.overrides, **_tier(row, table), "seed": seed}
  training = [f"--config={row.config}", *(f"--config.{path}={value}" for path, value in overrides.items())]
  words = [f"--checkpoint={table.checkpoints}", f"--metrics={table.metrics}"]
  return training, words + [f"--{flag}={value}" for flag, value in table.evaluation.items()]


def _made(row: Row, table: Table, seed: int) -> dict[str, Any]:
  """What a finished row was made with: the words of its commands, and the config that they start from."""
  training, words = _words(row, table, seed)
  config = json.loads(_config(row).copy_and_resolve_references().to_json())
  return {"words": [*training, *words, *row.samplers], "config": config}


def _finished(row: Row, table: Table, workdir: Path, seed: int) -> dict[str, Any] | None:
  """The record of a finished row, or None.

  Raises:
    ConfigError: the row was made with another config, or with other settings, than it has now.
  """
  if not (done := _done(row, workdir)).exists():
    return None
  record = json.loads(done.read_text(encoding="utf-8"))
  if record.get("made") != _made(row, table, seed):
    raise ConfigError(f"{done} is of a row with other settings than the table has now; take another --root")
  return record


def _check_data(row: Row) -> None:
  """Raises ConfigError where the row's data set is not found, in this command's own flags."""
  config = _config(row)
  with config.unlocked():
    config.data.dir = FLAGS.data_dir
  open_source(config.data)


def _config(row: Row) -> Any:
  path, _, variant = row.config.partition(":")
  return command_line.load_config(command_line.find_config(path), variant)


def _workdir(row: Row, root: Path, seed: int) -> Path:
  return root / f"{row.run or row.name}-seed{seed}"


def _done(row: Row, workdir: Path) -> Path:
  """The records of this row's finished evaluation; a run with several rows has one each."""
  return workdir / (f"reproduced-{row.name}.json" if row.run else "reproduced.json")


def _check_not_past(row: Row, workdir: Path, steps: int) -> None:
  if (workdir / "config.json").exists() and (sent := read_config(workdir)[0]["train"]["num_steps"]) > steps:
    raise ConfigError(
      f'"{row.name}" is the run of "{row.run}" at step {steps:,}, and {workdir} was sent on to step {sent:,}; rows of '
      "one run are scored in the order of their steps: name the others by --rows, or take another --root for all"
    )


def _run(command: str, *words: str) -> int:
  """Runs it in a process of its own, which saves what it has when this one is stopped by Ctrl-C or SIGTERM."""
  process = subprocess.Popen([sys.executable, "-m", f"experiments.{command}", *words], stdout=subprocess.DEVNULL)
  before = {number: signal.signal(number, lambda *_: process.terminate()) for number in (signal.SIGINT, signal.SIGTERM)}
  try:
    return process.wait()
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def _lines(workdir: Path) -> list[dict[str, Any]]:
  file = workdir / records.FILE
  return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def _is_list(line: dict[str, Any]) -> bool:
  return isinstance(line["value"], list)


def write(table: Table, root: Path) -> str:
  """Writes the table of all finished rows beside their workdirs, and returns it as Markdown."""
  found = []
  for row in table.rows:
    for seed in table.seeds[FLAGS.tier]:
      if record := _finished(row, table, _workdir(row, root, seed), seed):
        found.append({"row": row.name, "seed": seed, "published": row.published, **record})
  text = document(table, FLAGS.tier, found) + differences(table, found)
  files.write(root.parent / f"{root.name}.json", json.dumps(found, indent=1) + "\n")
  files.write(root.parent / f"{root.name}.md", text)
  return text


def differences(table: Table, found: list[dict[str, Any]]) -> str:
  """Markdown: by how much each row's scores of the same images are above those of the row that it stands beside."""
  lines, entries = [], {(entry["row"], entry["seed"]): entry["records"][0]["source"] for entry in found}
  for row in table.rows:
    for seed in sorted(seed for name, seed in entries if name == row.name and (row.beside, seed) in entries):
      sources = entries[row.name, seed], entries[row.beside, seed]
      for pair in paired(*(per_image_of(Path(source["workdir"]), source["step"]) for source in sources)):
        value = f"{pair.difference.mean:.3f} ± {1.96 * pair.difference.standard_error:.2g}"
        lines.append(f"| {pair.metric} | {row.name} - {row.beside} | {seed} | {value} |")
  head = ["", "Paired differences on the same images:", "", "| figure | of | seed | difference |", "|---|---|---|---|"]
  return "\n".join([*head, *lines]) + "\n" if lines else ""


def _spread(line: dict[str, Any]) -> str:
  """ " ± half of the interval", or the whole where it is lopsided, as of shares near 0 and 1; empty without one."""
  if not line["interval"]:
    return ""
  low, high = line["interval"]
  half = (high - low) / 2.0
  return f" ± {half:.2g}" if abs(low + half - line["value"]) < 0.1 * half else f" ({low:.3g} .. {high:.3g})"


def document(table: Table, tier: str, found: list[dict[str, Any]]) -> str:
  """Markdown: a row a model and seed, each score at the last and at the best checkpoint, the floor last."""
  # A figure for each latent is a list, which the JSON has and no cell could hold.
  found = [{**entry, "records": [line for line in entry["records"] if not _is_list(line)]} for entry in found]
  scores = list(dict.fromkeys(line["metric"].partition("@")[0] for entry in found for line in entry["records"]))
  heads = [f"{score}, {which}" for score in scores for which in table.checkpoints.split(",")]
  lines = [f"{table.title}; tier {tier}.", "", "| model | seed | steps | " + " | ".join(heads) + " | published |"]
  lines.append("|---" * (len(heads) + 4) + "|")
  floors: dict[str, str] = {}
  for entry in found:
    cells: dict[str, dict[str, str]] = {}  # {sampler: {head: cell}}
    steps = 0
    for line in entry["records"]:
      name, source = line["metric"].partition("@")[0], line["source"]
      error = _spread(line)
      if "real" in source:
        floors[name] = f"{line['value']:.5g}{error}"
        continue
      steps = max(steps, source["step"])
      at = "" if source["checkpoint"] == "last" else f" (step {source['step']:,})"
      of_sampler = cells.setdefault(line["protocol"].get("sampler", "prior"), {})
      of_sampler[f"{name}, {source['checkpoint']}"] = f"{line['value']:.5g}{error}{at}"
    for sampler, scored in cells.items():
      model = entry["row"] if sampler == "prior" else f"{entry['row']}, {sampler}"
      values = [model, str(entry["seed"]), f"{steps:,}", *(scored.get(head, "-") for head in heads)]
      lines.append(f"| {' | '.join(values)} | {entry['published'] or '-'} |")
  if floors:
    floor = [floors.get(head.rpartition(",")[0], "-") if head.endswith("last") else "-" for head in heads]
    lines.append(f"| real training images | - | - | {' | '.join(floor)} | - |")
  if found:
    first = found[0]["records"][0]
    kept = {k: v for k, v in first["protocol"].items() if k not in ("weights", "batch_norm", "truncation", "sampler")}
    lines += [
      "",
      "Protocol: " + "; ".join(f"{key} {value}" for key, value in kept.items()) + "; ± is half of the 95 % interval.",
    ]
    if said := calibration(first):
      lines += ["", f"Calibration: {said}."]
  return "\n".join(lines) + "\n"


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
