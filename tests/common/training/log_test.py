"""metrics.jsonl holds each step once; a quiet phase speaks up."""

import json
import time

from common.training import log


def _steps(path):
  return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_resume_cuts_metrics_back_to_the_restored_step_and_drops_half_a_line(tmp_path):
  first = log.RunLog(tmp_path, 0, enabled=True)
  for step in (10, 20, 30):
    first.write(step, "train", {"loss": 0.5, "kl": [0.25, 0.75]})
  first.close()
  path = tmp_path / "metrics.jsonl"
  with path.open("a") as file:
    file.write('[]\n{}\n{"step": 40, "split": "tr')  # damaged lines, and a kill in the middle of a line
  second = log.RunLog(tmp_path, 20, enabled=True)
  assert _steps(path) == [10, 20]
  second.write(30, "train", {"loss": 0.5})
  second.close()
  assert _steps(path) == [10, 20, 30]
  first = {"step": 10, "split": "train", "loss": 0.5, "kl": [0.25, 0.75]}
  assert json.loads(path.read_text().splitlines()[0]) == first


def test_a_last_line_between_two_regular_ones_is_taken_back_when_the_run_goes_on(tmp_path):
  first = log.RunLog(tmp_path, 0, enabled=True)
  for step, split in ((10, "train"), (15, "validation"), (15, "train")):
    first.write(step, split, {"loss": 0.5})
  first.close()
  log.RunLog(tmp_path, 15, enabled=True).close()
  assert _steps(tmp_path / "metrics.jsonl") == [10, 15, 15]
  log.RunLog(tmp_path, 15, enabled=True, whole=False).close()
  lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
  assert [(line["step"], line["split"]) for line in lines] == [(10, "train"), (15, "validation")]


def test_other_processes_write_nothing(tmp_path):
  other = log.RunLog(tmp_path, 0, enabled=False)
  other.write(1, "train", {"loss": 0.0})
  other.timing(1, {})
  other.sync()
  other.close()
  assert not list(tmp_path.iterdir())


def test_a_quiet_phase_says_what_it_is_doing(capsys, monkeypatch):
  monkeypatch.setattr(log, "QUIET_SECONDS", 0.1)
  with log.Status(enabled=True).phase("compiling"):
    time.sleep(1.3)
  assert "compiling (working for 1 s)" in capsys.readouterr().err
