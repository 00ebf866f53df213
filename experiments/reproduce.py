"""Fills a table of a paper, row by row: python -m experiments.reproduce --table=lucic2018 --tier=A --root=runs/tables

`experiments.train` trains each row in a workdir of its own under --root, and `experiments.evaluate` scores its last and
best checkpoint; if a row names densities of its latents, they are trained and scored in the place of its prior. The
same command goes on where a kill or a Ctrl-C stopped it: finished rows stay, a training resumes to the bit. After each
row TABLE-TIER.md and .json are written to --root.
"""

import dataclasses
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
from common.evaluation.records import Record
from experiments.command_line import flags as command_line
from experiments.command_line.failures import EXIT_INTERRUPTED
from experiments.loading import read_config
from experiments.scores.comparison import is_floor, kind, markdown, paired, per_image_of
from experiments.scores.table import calibration
from experiments.tables import TABLES, Row, Table

FLAGS = flags.FLAGS


def define_flags() -> None:
  flags.DEFINE_string("table", "", f"one of {', '.join(TABLES)}")
  flags.DEFINE_string("tier", "A", "A: one seed, mostly shortened; B: the published length, several seeds")
  flags.DEFINE_string("root", "runs/tables", "directory of all workdirs and tables")
  flags.DEFINE_list("rows", [], "names of rows, in the order to train them; empty for all")
  flags.DEFINE_string("data_dir", "", "where the data set lies; empty for the usual places")
  flags.DEFINE_bool("report", False, "train nothing, only write the table of the finished rows")


def main() -> int:
  command_line.required("table")
  command_line.required("root")
  if FLAGS.table not in TABLES:
    raise ConfigError(f'--table="{FLAGS.table}" is not one of {", ".join(TABLES)}{nearest(FLAGS.table, TABLES)}')
  table = TABLES[FLAGS.table]
  if FLAGS.tier not in table.tiers:
    raise ConfigError(f'--tier="{FLAGS.tier}" is not one of {", ".join(table.tiers)}')
  rows = {row.name: row for row in table.rows if row.in_tier(FLAGS.tier)}
  for name in FLAGS.rows:
    if name not in rows:
      raise ConfigError(f'--rows: "{name}" is not one of {", ".join(rows)}{nearest(name, rows)}')
  root = Path(FLAGS.root).absolute() / f"{FLAGS.table}-{FLAGS.tier}"
  command_line.make_directory("root", root)
  for seed in () if FLAGS.report else table.seeds[FLAGS.tier]:
    for name in FLAGS.rows or rows:
      code = Job(table, rows[name], FLAGS.tier, seed, root).run()
      write(table, root)
      if code:
        print(f"{name}, seed {seed}: stopped with code {code}; the same command goes on", file=sys.stderr)
        return code if code > 0 else EXIT_INTERRUPTED
  print(write(table, root))
  return 0


@dataclasses.dataclass(frozen=True)
class Job:
  """One row of a table with one seed: its commands, its workdir under ``root``, and its record once it is finished."""

  table: Table
  row: Row
  tier: str
  seed: int
  root: Path

  def run(self) -> int:
    """Trains and scores the row unless that is done; returns the exit code that stopped it, or 0.

    Raises:
      ConfigError: a missing data set, or a run that already went on to a later row's steps.
    """
    if self.finished():
      return 0
    self._check_not_past()
    self._check_data()
    data = [f"--config.data.dir={FLAGS.data_dir}"] if FLAGS.data_dir else []
    if code := _run("train", f"--workdir={self.workdir}", *self._training(), *data):
      return code
    before = len(self._lines())
    for name, *words in self._scorings():
      if code := _run(name, *words):
        return code
    record = {"time": round(time.time()), "made": self._made(), "records": self._lines()[before:]}
    files.write(self._done, json.dumps(record))
    return 0

  def finished(self) -> Record | None:
    """Returns the record of a finished row, or None.

    Raises:
      ConfigError: the row was made with another config, or with other settings, than it has now.
    """
    if not self._done.exists():
      return None
    record = json.loads(self._done.read_text(encoding="utf-8"))
    if record.get("made") != self._made():
      raise ConfigError(f"{self._done} was made with other settings than the table has now; take another --root")
    return record

  @property
  def workdir(self) -> Path:
    """The run's directory, which rows of one run share."""
    return self.root / f"{self.row.run or self.row.name}-seed{self.seed}"

  @property
  def _done(self) -> Path:
    """The file of the finished row's records."""
    return self.workdir / (f"reproduced-{self.row.name}.json" if self.row.run else "reproduced.json")

  def _overrides(self) -> dict[str, Any]:
    tier = {**self.table.tiers[self.tier], **self.row.tiers.get(self.tier, {})}
    return {**self.row.overrides, **tier, "seed": self.seed}

  def _training(self) -> list[str]:
    return [f"--config={self.row.config}", *(f"--config.{path}={value}" for path, value in self._overrides().items())]

  def _scoring(self, checkpoints: str) -> list[str]:
    settings = {"checkpoint": checkpoints, "metrics": self.table.metrics, **self.table.evaluation}
    return [f"--{flag}={value}" for flag, value in settings.items()]

  def _scorings(self) -> Iterator[list[str]]:
    """Yields the commands that score the trained row, under its own prior and under densities that they fit first."""
    evaluate = ["evaluate", f"--workdir={self.workdir}"]
    for sampler in self.row.samplers:
      if sampler == "prior":
        yield [*evaluate, *self._scoring(self.table.checkpoints)]
        continue
      for checkpoint in self.table.checkpoints.split(","):
        density = self.workdir / f"{sampler}-{checkpoint}"
        latents = [f"--config.data.dir={self.workdir}", f"--config.data.name=latents:{checkpoint}"]
        yield ["train", f"--config=samplers:{sampler}", *latents, f"--workdir={density}"]
        yield [*evaluate, *self._scoring(checkpoint), f"--prior={density}"]

  def _made(self) -> Record:
    """Describes what the row is made with: the words of its commands, and the config that they start from."""
    words = [*self._training(), *self._scoring(self.table.checkpoints), *self.row.samplers]
    return {"words": words, "config": json.loads(self._config().copy_and_resolve_references().to_json())}

  def _config(self) -> Any:
    path, _, variant = self.row.config.partition(":")
    return command_line.load_config(command_line.find_config(path), variant)

  def _lines(self) -> list[Record]:
    file = self.workdir / records.FILE
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []

  def _check_data(self) -> None:
    """Raises ConfigError, which names this command's flags, if the row's data set is missing."""
    config = self._config()
    with config.unlocked():
      config.data.dir = FLAGS.data_dir
    open_source(config.data)

  def _check_not_past(self) -> None:
    steps = self._overrides().get("train.num_steps")
    if not self.row.run or steps is None or not (self.workdir / "config.json").exists():
      return
    if (sent := read_config(self.workdir)[0]["train"]["num_steps"]) > steps:
      raise ConfigError(
        f'"{self.row.name}" is the run of "{self.row.run}" at step {steps:,}, and {self.workdir} was sent on to step '
        f"{sent:,}; rows of one run are scored in the order of their steps: name the others by --rows, or take another "
        "--root for all"
      )


def _run(command: str, *words: str) -> int:
  """Runs a command in its own process, which saves its state when Ctrl-C or SIGTERM stops this one."""
  process = subprocess.Popen([sys.executable, "-m", f"experiments.{command}", *words], stdout=subprocess.DEVNULL)
  before = {number: signal.signal(number, lambda *_: process.terminate()) for number in (signal.SIGINT, signal.SIGTERM)}
  try:
    return process.wait()
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


def write(table: Table, root: Path) -> str:
  """Writes the table of all finished rows beside their workdirs, and returns it as Markdown."""
  entries = []
  for row in table.rows:
    for seed in table.seeds[FLAGS.tier]:
      if record := Job(table, row, FLAGS.tier, seed, root).finished():
        entries.append({"row": row.name, "seed": seed, "published": row.published, **record})
  text = "\n".join([*document(table, FLAGS.tier, entries), *differences(table, entries)]) + "\n"
  files.write(root.parent / f"{root.name}.json", json.dumps(entries, indent=1) + "\n")
  files.write(root.parent / f"{root.name}.md", text)
  return text


def differences(table: Table, entries: list[Record]) -> list[str]:
  """Returns, as Markdown, each row's scores minus those, of the same images, of the row that it stands beside."""
  rows, sources = [], {(entry["row"], entry["seed"]): entry["records"][0]["source"] for entry in entries}
  for row in table.rows:
    for seed in sorted(seed for name, seed in sources if name == row.name and (row.beside, seed) in sources):
      runs = sources[row.name, seed], sources[row.beside, seed]
      for pair in paired(*(per_image_of(Path(run["workdir"]), run["step"]) for run in runs)):
        value = f"{pair.difference.mean:.3f} ± {1.96 * pair.difference.standard_error:.2g}"
        rows.append((pair.metric, f"{row.name} - {row.beside}", str(seed), value))
  head = ("figure", "of", "seed", "difference")
  return ["", "Paired differences on the same images:", "", *markdown(head, rows)] if rows else []


def document(table: Table, tier: str, entries: list[Record]) -> list[str]:
  """Returns, as Markdown, a row for each model and seed with its scores at each checkpoint, and the floors last."""
  # An array, such as a figure for each latent, is in the JSON; no cell can hold it.
  numbers = [[line for line in entry["records"] if not isinstance(line["value"], list)] for entry in entries]
  scores = dict.fromkeys(kind(line["metric"]) for lines in numbers for line in lines)
  columns = [(score, checkpoint) for score in scores for checkpoint in table.checkpoints.split(",")]
  rows, floors = [], {}
  for entry, lines in zip(entries, numbers, strict=True):
    cells: dict[str, dict[tuple[str, str], str]] = {}  # {sampler: {column: cell}}
    for line in lines:
      name, source = kind(line["metric"]), line["source"]
      if is_floor(line):
        floors[name, "last"] = _cell(line)
        continue
      at = "" if source["checkpoint"] == "last" else f" (step {source['step']:,})"
      scored = cells.setdefault(line["protocol"].get("sampler", "prior"), {})
      scored[name, source["checkpoint"]] = _cell(line) + at
    steps = max((line["source"]["step"] for line in lines if not is_floor(line)), default=0)
    for sampler, scored in cells.items():
      model = entry["row"] if sampler == "prior" else f"{entry['row']}, {sampler}"
      rows.append([model, str(entry["seed"]), f"{steps:,}", *_in(columns, scored), entry["published"] or "-"])
  if floors:
    rows.append(["real training images", "-", "-", *_in(columns, floors), "-"])
  head = ["model", "seed", "steps", *map(", ".join, columns), "published"]
  text = [f"{table.title}; tier {tier}.", "", *markdown(head, rows)]
  if entries:
    first = numbers[0][0]
    drawing = ("weights", "batch_norm", "truncation", "sampler")
    said = "; ".join(f"{key} {value}" for key, value in first["protocol"].items() if key not in drawing)
    text += ["", f"Protocol: {said}; ± is half of the 95 % interval."]
    if read := calibration(first):
      text += ["", f"Calibration: {read}."]
  return text


def _in(columns: list[tuple[str, str]], cells: dict[tuple[str, str], str]) -> list[str]:
  return [cells.get(column, "-") for column in columns]


def _cell(line: Record) -> str:
  """Formats a value with half of its interval, or with the whole if it is lopsided, as for shares near 0 and 1."""
  value = f"{line['value']:.5g}"
  if not line["interval"]:
    return value
  low, high = line["interval"]
  half = (high - low) / 2.0
  symmetric = abs(low + half - line["value"]) < 0.1 * half
  return f"{value} ± {half:.2g}" if symmetric else f"{value} ({low:.3g} .. {high:.3g})"


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
