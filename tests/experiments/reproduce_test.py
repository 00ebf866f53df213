"""The queue that fills a paper's table: order, what is skipped, what goes on, and the table."""

import dataclasses
import functools
import itertools
import json
import math
import operator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.evaluation.metrics.catalogue import SAMPLE_METRICS, build_metrics
from common.evaluation.records import keep_per_image
from common.training.program import make_state
from configs import schema
from experiments import build_algorithm, reproduce
from experiments.command_line.flags import config_names, find_config, load_config
from experiments.tables import TABLES, Row
from tests.configs_test import load, spec_of
from tests.experiments.runs import call

LENGTH = {"train.num_steps"}


def score(workdir: str, value: float, checkpoint: str, step: int, sampler: str = "prior") -> dict:
  return {
    "metric": "frechet@c",
    "value": value,
    "standard_error": 0.5,
    "interval": [value - 0.98, value + 0.98] if value else [0.0, 1.2],
    "protocol": {"n_fake": 7, "weights": "raw", "sampler": sampler},
    "source": {"workdir": workdir, "checkpoint": checkpoint, "step": step},
  }


@pytest.fixture
def queue(tmp_path, monkeypatch):
  """Calls the command on fake trainings and evaluations: (run, the commands so far, codes by command's number)."""
  commands, codes = [], {}

  def run(*words: object) -> int:
    return call("reproduce", "--table=smoke", f"--root={tmp_path}", *words)

  def fake(command: str, *words: str) -> int:
    commands.append((command, *words))
    workdir = Path(next(word.partition("=")[2] for word in words if word.startswith("--workdir=")))
    if code := codes.pop(len(commands), 0):
      return code
    if command == "evaluate":
      sampler = "gmm" if any(word.startswith("--prior=") for word in words) else "prior"
      other = score(str(workdir), 0.0, "last", 40, sampler)
      lines = [
        score(str(workdir), 9.0, "last", 40, sampler),
        score(str(workdir), 8.0, "best", 20, sampler),
        {**other, "metric": "recall"},
        {**other, "metric": "activity", "value": [0.5, 0.5], "standard_error": None, "interval": None},
        {**score("", 1.0, "", 0), "source": {"real": "train"}, "protocol": {"n_fake": 7}},
      ]
      workdir.mkdir(parents=True, exist_ok=True)
      with (workdir / "evaluations.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return 0

  monkeypatch.setattr(reproduce, "_run", fake)
  return run, commands, codes


def test_rows_are_trained_and_scored_in_turn_and_the_table_is_written(queue, tmp_path, capfd):
  run, commands, _ = queue
  assert run() == 0
  assert [command[0] for command in commands] == ["train", "evaluate"] * 4
  assert "--config=lucic2018:digits,tiny" in commands[0] and "--config.seed=0" in commands[0]
  assert "--checkpoint=last,best" in commands[1]
  out = capfd.readouterr().out
  assert "| NS-GAN | 0 | 40 | 9 ± 0.98 | 8 ± 0.98 (step 20) | 0 (0 .. 1.2) | - | - |" in out
  assert (
    "| VAE | 0 | 40 |" in out and "| VAE, gmm | 0 | 40 | 9 ± 0.98 | 8 ± 0.98 (step 20) | 0 (0 .. 1.2) | - | - |" in out
  )
  vae = commands[3][1].partition("=")[2]
  for checkpoint, fit, scoring in zip(("last", "best"), commands[4::2], commands[5::2], strict=True):
    latents, density = f"--config.data.name=latents:{checkpoint}", f"{vae}/gmm-{checkpoint}"
    assert fit[1:] == ("--config=samplers:gmm", f"--config.data.dir={vae}", latents, f"--workdir={density}")
    assert scoring[1:3] == (f"--workdir={vae}", f"--checkpoint={checkpoint}") and scoring[-1] == f"--prior={density}"
  assert "activity" not in out and "activity" in (tmp_path / "smoke-A.json").read_text()
  assert "| real training images | - | - | 1 ± 0.98 | - | - | - | - |" in out and "Protocol: n_fake 7" in out
  assert (tmp_path / "smoke-A.md").read_text() in out
  assert [entry["row"] for entry in json.loads((tmp_path / "smoke-A.json").read_text())] == ["NS-GAN", "VAE"]


def test_what_is_finished_stays_and_what_was_stopped_goes_on(queue, capfd):
  run, commands, codes = queue
  codes[3] = 75  # the second row's training is stopped by a signal
  assert run() == 75
  assert "VAE, seed 0: stopped with code 75; the same command goes on" in capfd.readouterr().err
  del commands[:]
  codes[2] = -15  # its evaluation is killed
  assert run() == 75
  assert [command[0] for command in commands] == ["train", "evaluate"]  # of the second row only
  del commands[:]
  codes[3] = 75  # and its sampler's fit is stopped
  assert run() == 75
  del commands[:]
  assert run() == 0
  assert [command[0] for command in commands] == ["train", "evaluate"] * 3
  del commands[:]
  assert run() == 0 and not commands


def test_a_row_that_was_made_with_other_settings_is_no_row_of_this_table(queue, tmp_path, capfd):
  """Also one of before these were written down, in the report too."""
  run, commands, _ = queue
  assert run() == 0
  done = tmp_path / "smoke-A" / "NS-GAN-seed0" / "reproduced.json"
  record = json.loads(done.read_text())
  record["made"]["config"]["z_dim"] += 1
  for other in (record, {"time": 0, "records": record["records"]}):
    done.write_text(json.dumps(other))
    del commands[:]
    for words in ((), ("--report",)):
      assert run(*words) == 2 and not commands
      assert "was made with other settings than the table has now; take another --root" in capfd.readouterr().err


def test_tiers_have_their_own_lengths_and_seeds(queue):
  run, commands, _ = queue
  assert run("--tier=B", "--rows=VAE") == 0
  assert [word for command in commands for word in command if "seed=" in word] == [
    "--config.seed=0",
    "--config.seed=1",
  ]
  assert "--config.train.num_steps=80" in commands[0]


def test_rows_of_one_run_are_its_stops_and_none_is_scored_too_late(queue, tmp_path, monkeypatch, capfd):
  run, commands, _ = queue
  rows = [
    Row("short", "vae:digits", tiers={"A": {"train.num_steps": 20}}, run="long"),
    Row("long", "vae:digits", tiers={"A": {"train.num_steps": 40}, "B": {}}, run="long"),
  ]
  monkeypatch.setitem(TABLES, "smoke", dataclasses.replace(TABLES["smoke"], rows=tuple(rows)))
  assert run("--tier=B", "--rows=short") == 2 and '"short" is not one of long' in capfd.readouterr().err
  assert run() == 0
  workdir = tmp_path / "smoke-A" / "long-seed0"
  assert [command[0] for command in commands] == ["train", "evaluate"] * 2
  assert all(f"--workdir={workdir}" in command for command in commands)
  assert [f"--config.train.num_steps={steps}" in commands[at] for at, steps in ((0, 20), (2, 40))] == [True, True]
  entries = json.loads((tmp_path / "smoke-A.json").read_text())
  assert [(entry["row"], len(entry["records"])) for entry in entries] == [("short", 5), ("long", 5)]  # its own only
  (workdir / "config.json").write_text(
    json.dumps({"version": schema.VERSION, "family": "vae", "train": {"num_steps": 40}})
  )
  assert run() == 0 and len(commands) == 4  # both are done: nothing is late
  (workdir / "reproduced-short.json").unlink()
  assert run("--rows=short") == 2
  assert '"short" is the run of "long" at step 20' in capfd.readouterr().err and len(commands) == 4


def test_rows_beside_each_other_are_compared_image_by_image(queue, tmp_path, monkeypatch, capfd):
  run, *_ = queue
  rows = Row("a", "vae:digits"), Row("b", "vae:digits", beside="a"), Row("c", "vae:digits", beside="d")
  monkeypatch.setitem(TABLES, "smoke", dataclasses.replace(TABLES["smoke"], rows=rows))
  values = {"a": [200.0, 220.0, 240.0], "b": [199.0, 218.0, 239.0], "c": [1.0, 2.0, 3.0]}
  for name, of_images in values.items():
    for step, more in ((40, 0.0), (20, 100.0)):  # the records are of step 40
      workdir = tmp_path / "smoke-A" / f"{name}-seed0"
      workdir.mkdir(parents=True, exist_ok=True)
      keep_per_image(workdir, "nll", step, {"nll": np.array(of_images) + more * len(name)}, {"settings": {"k": 5}})
  assert run() == 0
  out = capfd.readouterr().out
  error = 1.96 * np.std([1.0, 2.0, 1.0], ddof=1) / 3**0.5
  assert f"| nll | b - a | 0 | -1.333 ± {error:.2g} |" in out and out.count("| nll |") == 1


@pytest.mark.parametrize(("table", "tier"), [(table, tier) for table in TABLES for tier in TABLES[table].tiers])
def test_rows_of_one_run_differ_in_their_length_only(table, tier):
  rows = [row for row in TABLES[table].rows if row.run and row.in_tier(tier)]
  steps: dict[str, float] = {}
  for row in rows:
    first = next(other for other in rows if other.run == row.run)
    assert (row.config, row.overrides) == (first.config, first.overrides) and set(row.tiers.get(tier, {})) <= LENGTH
    length = {**TABLES[table].tiers[tier], **row.tiers.get(tier, {})}.get("train.num_steps", math.inf)
    assert length > steps.get(row.run, 0), row.name
    steps[row.run] = length


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (["--table=lucic"], 'did you mean "lucic2018"'),
    (["--tier=C"], '--tier="C" is not one of A, B'),
    (["--rows=VEA"], 'did you mean "VAE"'),
  ],
)
def test_wrong_words(queue, capfd, words, message):
  run, commands, _ = queue
  assert run(*words) == 2
  assert message in capfd.readouterr().err and not commands


def configs_of(table):
  """(row, its config in a tier), every row and tier; a key that the config lacks is a KeyError."""
  for row, tier in itertools.product(TABLES[table].rows, TABLES[table].tiers):
    if not row.in_tier(tier):
      continue
    name, _, variant = row.config.partition(":")
    assert name in config_names() and "," not in row.name  # --rows is a list with commas
    config = load_config(find_config(name), variant)
    for path, value in {**row.overrides, **TABLES[table].tiers[tier], **row.tiers.get(tier, {})}.items():
      *sections, key = path.split(".")
      section = functools.reduce(operator.getitem, sections, config)
      assert key in section, (row.name, path)
      section[key] = value
    yield row, config


@pytest.mark.parametrize("table", TABLES)
def test_every_row_trains_and_chooses_by_a_score_that_it_has(table):
  for row, config in configs_of(table):
    spec = spec_of(config)
    algorithm = build_algorithm(config, spec)
    state = jax.eval_shape(lambda a=algorithm, s=spec: make_state(a, s, 0))
    image = jax.ShapeDtypeStruct((4, *spec.image_shape), jnp.float32)
    rows = jax.ShapeDtypeStruct((4,), jnp.int32)
    batch = {"image": image, "label": rows, "index": rows, "mask": jax.ShapeDtypeStruct((4,), jnp.float32)}
    found = jax.eval_shape(lambda s, b, a=algorithm: a.eval_step(s, b, jax.random.key(0)), state, batch)
    metrics = build_metrics(SAMPLE_METRICS, config.evaluate.metrics, "evaluate.metrics").values()
    assert config.checkpoint.keep_best in {"", *found}.union(*(metric.better for metric in metrics)), row.name


def test_the_table_says_what_real_pictures_of_some_of_the_modes_read():
  rows = [{"true": 1000, "modes": 999.0, "modes_kl": 0.0213}, {"true": 10, "modes": 17.0, "modes_kl": 4.5}]
  line = {**score("runs/x", 512.0, "last", 40), "metric": "modes@c", "calibration": rows}
  found = [{"row": "DCGAN", "seed": 0, "published": "", "records": [line]}]
  text = "\n".join(reproduce.document(TABLES["stacked"], "A", found))
  assert "Calibration: real pictures of some of the modes: 1,000 read 999 (KL 0.021), 10 read 17 (KL 4.500)." in text


def test_the_table_of_modes_is_of_the_set_that_its_classifier_reads():
  table = TABLES["stacked"]
  assert {load(row.config).data.name for row in table.rows} == {"stacked_mnist"}
  assert load("stacked").evaluate.features == table.evaluation["features"] == "stacked:mnist"
