"""Tables of scores: what is ranked together, what is refused, and what a person reads."""

import json

import pytest

from common.errors import ConfigError
from experiments.evaluate import join_compared
from experiments.scores import comparison
from experiments.scores import table as score_table

UINT8, JPEG = "uint8, rounded", "uint8, JPEG of mean step 196"


def record(value: float, workdir: str = "a", source: dict | None = None, **protocol: object) -> dict:
  return {
    "metric": "frechet@x",
    "value": value,
    "interval": [value - 1, value + 1],
    "interval_method": "subsets",
    "better": "min",
    "settings": {},
    "protocol": {"n_fake": 100, "weights": "ema", **protocol},
    "source": source or {"workdir": workdir, "checkpoint": "last", "step": 10},
    "seed": 0,
  }


def floor(value: float, num: int = 100, **protocol: object) -> dict:
  return {**record(value, source={"real": "train"}), "protocol": {"n_fake": num, **protocol}}


def files(value: float, name: str, **protocol: object) -> dict:
  return record(value, source={"samples": name}, **{"weights": "files", **protocol})


@pytest.fixture
def ranked(tmp_path, capfd):
  """Compares lists of records, a file each: (exit code, [[value of each row] of each table], the text)."""

  def compare(*records: list[dict], ignore: tuple[str, ...] = ()):
    for i, lines in enumerate(records):
      (tmp_path / f"{i}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    code = comparison.compare([tmp_path / f"{i}.jsonl" for i in range(len(records))], list(ignore))
    out = capfd.readouterr().out
    tables: list[list[float]] = []
    for line in out.splitlines():
      if line.startswith("| of |"):
        tables.append([])
      elif line.startswith("| "):
        tables[-1].append(float(line.split(" | ")[1]))
    return code, tables, out

  return compare


def test_scores_of_one_protocol_are_ranked_and_others_refused(ranked):
  of_a = [record(5.0, "a"), floor(1.0)]
  of_b = [record(4.0, "b"), record(3.0, "b", extractor_accuracy_real=0.99)]
  code, tables, _ = ranked(of_a, of_b)
  assert (code, tables) == (0, [[3.0, 5.0, 1.0]])  # of one source the last, whatever accuracy was measured
  of_c = [record(2.0, "c", n_fake=50)]
  code, tables, out = ranked(of_a, of_b, of_c)
  assert (code, tables) == (1, [[3.0, 5.0, 1.0], [2.0, 1.0]])
  assert "frechet: a last (step 10) and c last (step 10) differ in n_fake: 100 against 50" in out
  with pytest.raises(ConfigError, match='"n_fakes" is not one of n_fake, weights; did you mean "n_fake"'):
    ranked(of_a, of_c, ignore=("n_fakes",))
  code, tables, out = ranked(of_a, of_b, of_c, ignore=("n_fake",))
  assert (code, tables) == (0, [[2.0, 3.0, 5.0, 1.0]]) and "Not ranked" not in out


def test_files_are_ranked_beside_runs_and_small_floors_are_shown(ranked):
  code, tables, out = ranked([record(5.0), files(3.0, "x.npz"), floor(1.0, 50)])
  assert (code, tables) == (0, [[3.0, 5.0, 1.0]])
  assert "| x.npz | 3 " in out and "| floor: 50 real train pictures | 1 " in out


def test_lossy_files_are_ranked_with_no_others(ranked):
  """PNG beside the runs, JPEG by itself with the floor; two sets of JPEG of one step together."""
  run = record(5.0, quantization=UINT8)
  others = [
    floor(1.0, 50, quantization=UINT8),
    files(4.0, "jpeg", quantization=JPEG),
    files(2.0, "other jpeg", quantization=JPEG, files={"left_out": {"hidden": 1}}),
    files(3.0, "png", quantization="files", files={"formats": {"PNG": 100}}),
  ]
  code, tables, out = ranked([run, *others])
  assert (code, tables) == (1, [[3.0, 5.0, 1.0], [2.0, 4.0, 1.0]])
  assert f"; quantization: {UINT8} against {JPEG}" in out
  code, tables, _ = ranked(others)  # no run that PNG would fit
  assert (code, tables) == (1, [[2.0, 4.0, 1.0], [3.0, 1.0]])


def test_the_table_has_floors_and_arrays_and_any_protocol():
  """An array shows its shape and range; a shared protocol is said once, the rest with the names of its scores."""
  kept = {"png": 3, "left out": {"hidden": 1}}
  scores = [
    {**record(5.0, files=kept), "metric": "frechet@classifier:digits-1a2b3c4d"},
    {**record(0.5, files=kept, n_real=7), "metric": "recall", "interval": None, "interval_method": ""},
    {**record(0.0, files=kept), "metric": "covariance", "value": [[1.0, -2.0], [0.5, 3.0]], "interval": None},
  ]
  lines = score_table.table([*scores, {**floor(1.25), "metric": scores[0]["metric"]}]).splitlines()
  assert lines[0] == "a last (step 10)"
  assert [line.split() for line in lines[2:5]] == [
    ["frechet", "5", "4", "..", "6", "1.25"],
    ["recall", "0.5", "-", "-"],
    ["covariance", "[2", "x", "2]", "-2", "..", "3", "-", "-"],
  ]
  assert lines[6] == "protocol: n_fake 100; weights ema; files.png 3; files.left out.hidden 1"
  assert lines[7:] == ["protocol of recall: n_real 7", "interval of frechet, covariance: subsets"]


@pytest.mark.parametrize("words", [["--compare", "a", "b"], ["--compare=a", "b"]])
def test_compare_takes_several_words(words):
  assert join_compared(["evaluate", *words, "--out=x"]) == ["evaluate", "--compare=a,b", "--out=x"]
