"""Scores from the command line: of a run, of anybody's pictures, in training, and side by side."""

import errno
import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from common.data.dataset import open_dataset
from common.data.digits import digits
from common.errors import ConfigError
from common.evaluation.scoring import Settings
from experiments import api
from experiments.scores.runs import _reconstructing
from tests.common.data.settings import data_config
from tests.experiments.dcgan_uses_test import untrained
from tests.experiments.runs import call

FEW = ("--num_samples=150", "--feature_cache=")
FILES = ("--reference=digits", "--nofloor", "--feature_cache=")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
  """A run that scores its pictures while it trains, and keeps the best by that score."""
  workdir = tmp_path_factory.mktemp("evaluate") / "run"
  words = ["--config=vae:digits,tiny", f"--workdir={workdir}", "--config.evaluate.metrics={'frechet': {'groups': 5}}"]
  words += ["--config.evaluate.num_samples=100", "--config.checkpoint.keep_best=frechet", "--config.ema.decay=0.5"]
  words += ["--config.data.image_size=8", "--config.checkpoint.best_mode=min"]
  assert call("train", *words) == 0
  return workdir


def noisy(*shape: int) -> np.ndarray:
  return np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)


def scores(capfd, *words: object) -> list[dict]:
  assert call("evaluate", "--json", *words) == 0
  return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_training_scores_its_pictures_and_keeps_the_best(trained):
  lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
  curve = {line["step"]: line for line in lines if line["split"] == "validation"}
  (name,) = (key for key in curve[20] if key.startswith("frechet@classifier:digits-") and "error" not in key)
  assert curve[20][name] > 0 and curve[20][f"{name} standard error"] > 0 and set(curve) == {20, 40}
  said = json.loads((trained / "validation_protocol.json").read_text())
  assert said["better"] == {name: "min"} and said["protocol"]["extractor"] in name
  assert (said["protocol"]["n_real"], said["protocol"]["n_fake"], said["protocol"]["split"]) == (97, 100, "validation")
  assert said["protocol"]["extractor_accuracy_real"] > 0.95
  best = min(curve, key=lambda step: curve[step][name])
  assert [path.name for path in (trained / "best").glob("*.json")] == [f"{best}.json"]


def test_the_best_cannot_be_the_worst_by_mistake(trained, capfd):
  metrics = ("--config.evaluate.metrics={'frechet': {}}", "--config.checkpoint.keep_best=frechet")
  words = ("--config.evaluate.num_samples=100", "--config.data.image_size=8", f"--workdir={trained.parent / 'other'}")
  assert call("train", "--config=vae:digits,tiny", *metrics, *words) == 2
  assert "would keep the worst frechet; set --config.checkpoint.best_mode=min" in capfd.readouterr().err


def test_a_score_says_what_was_measured_of_what(trained, capfd):
  lines = scores(capfd, f"--workdir={trained}", "--metrics=frechet,prdc,memorisation", "--checkpoint=best,last", *FEW)
  ours = [line for line in lines if "workdir" in line["source"]]
  names = [line["metric"].partition("@")[0] for line in ours]
  expected = ["frechet", "precision", "recall", "density", "coverage", "copying_rank", "copied_share"]
  assert names == 2 * expected
  first = ours[0]
  assert first["interval"][0] < first["value"] < first["interval"][1] and first["interval_method"]
  assert first["protocol"] == {
    "dataset": "digits",
    "split": "test",
    "image_shape": [8, 8, 1],
    "resize": "none",
    "quantization": "uint8, rounded",
    "weights": "ema",
    "batch_norm": "running",
    "truncation": "none",
    "sampler": "prior",
    "extractor": first["metric"].partition("@")[2],
    "extractor_resize": "none",
    "extractor_accuracy": pytest.approx(0.9933, abs=1e-4),
    "extractor_accuracy_real": pytest.approx(0.9933, abs=1e-4),
    "n_real": 300,
    "real_sha": first["protocol"]["real_sha"],
    "n_fake": 150,
  }
  assert first["source"]["checkpoint"] == "best" and ours[7]["source"]["checkpoint"] == "last"
  assert ours[7]["source"]["step"] == ours[7]["source"]["net_updates"] == 40
  assert ours[7]["source"]["images"] == 40 * 48
  against = {line["metric"].partition("@")[0]: line["protocol"]["n_real"] for line in ours}
  assert against["frechet"] == 300 and against["copying_rank"] == 1400  # copies show against what was trained on
  floors = {line["metric"].partition("@")[0]: line for line in lines if "real" in line["source"]}
  assert floors["frechet"]["value"] < first["value"] and floors["frechet"]["source"] == {"real": "train"}
  assert floors["copying_rank"]["source"] == {"real": "test"}
  assert floors["frechet"]["protocol"]["real_sha"] == first["protocol"]["real_sha"]  # they stay beside their scores
  assert floors["copying_rank"]["value"] == pytest.approx(0.5, abs=0.1)


def test_the_same_pictures_score_the_same_from_a_run_and_from_a_file(trained, capfd, tmp_path):
  npz = tmp_path / "mine.npz"
  assert call("sample", f"--workdir={trained}", "--num=150", f"--out={npz}") == 0
  capfd.readouterr()
  ours = scores(capfd, f"--workdir={trained}", "--metrics=frechet", "--nofloor", *FEW)
  [arrays] = scores(capfd, f"--samples={npz}", "--metrics=frechet", *FILES)
  assert arrays["value"] == pytest.approx(ours[0]["value"], rel=1e-6)
  assert arrays["protocol"]["weights"] == "files" and arrays["source"] == {"samples": str(npz)}
  np.savez(tmp_path / "real.npz", images=open_dataset(data_config()).test.arrays()["image"])
  random = ("--metrics=frechet", "--features=random", "--feature_cache=")
  [named] = scores(capfd, f"--samples={npz}", "--reference=digits", "--nofloor", *random)
  [of_file] = scores(capfd, f"--samples={npz}", f"--reference={tmp_path / 'real.npz'}", *random)  # which has no floor
  assert of_file["value"] == named["value"] and of_file["protocol"]["split"] == "all"
  folder = tmp_path / "png"
  folder.mkdir()
  with np.load(npz) as file:
    for i, image in enumerate(file["images"]):
      Image.fromarray(image[..., 0]).convert("RGB").save(folder / f"{i:04d}.png")  # grey, in three channels
  (folder / ".thumbnail.png").touch()
  [pngs] = scores(capfd, f"--samples={folder}", "--metrics=frechet", *FILES)
  assert pngs["value"] == arrays["value"]
  assert pngs["protocol"]["files"] == {"formats": {"PNG": 150}, "left_out": {"hidden": 1}}
  assert pngs["protocol"]["quantization"] == arrays["protocol"]["quantization"] == "files"


def test_reconstructions_are_scored_in_pairs_with_their_originals(trained, tmp_path, capfd):
  own = shutil.copytree(trained, tmp_path / "run")  # scores by other protocols would not rank with those of `trained`
  words = (f"--workdir={own}", "--reconstructions", "--nofloor", *FEW)
  psnr, frechet = scores(capfd, "--metrics=psnr,frechet", *words)
  for line in (psnr, frechet):
    assert line["protocol"]["sampler"] == "reconstructions"
    assert (line["protocol"]["n_real"], line["protocol"]["n_fake"]) == (150, 150)
  assert psnr["metric"] == "psnr" and psnr["value"] > 5.0
  assert call("evaluate", "--metrics=psnr", *words, f"--prior={trained}") == 2
  assert "reconstructions take z from q(z|x); leave it out" in capfd.readouterr().err
  gan = SimpleNamespace(algorithm=object(), config=SimpleNamespace(family="gan"))
  with pytest.raises(ConfigError, match="--reconstructions: a gan has no encoder"):
    _reconstructing(gan, Settings())


def test_likelihoods_and_their_paired_difference(trained, capfd):
  ais = {"images": 5, "chains": 2, "temperatures": 2, "leapfrog": 1, "pilots": 1}
  lines = scores(capfd, f"--workdir={trained}", f"--metrics={ {'bound': {}, 'nll': {'k': 10}, 'ais': ais} }")
  found = {line["metric"]: line for line in lines}
  assert -found["elbo"]["value"] > found["nll"]["value"] > 0  # k = 10 is the tighter bound
  assert found["nll"]["settings"]["k"] == 10 and found["nll"]["standard_error"] > 0
  assert found["nll"]["protocol"]["binarize"] == "dynamic" and found["nll"]["protocol"]["n_real"] == 300
  assert len(found["nll"]["protocol"]["real_sha"]) == 8 and found["ais_nll"]["protocol"]["n_real"] == 5
  assert call("evaluate", f"--compare={trained},{trained}") == 0
  out = capfd.readouterr().out
  assert "## Paired differences" in out and "| nll | " in out and "| 0 | 0 | 300 |" in out
  assert "## nll (lower is better)" in out


@pytest.mark.parametrize(
  ("command", "words"),
  [
    ("evaluate", ("--metrics=parzen", "--nofloor", "--num_samples=8")),
    ("sample", ("--show=reconstructions", "--num=2", "--columns=2")),
  ],
)
def test_pictures_are_compared_with_the_data_of_training_only(trained, tmp_path, capfd, command, words):
  shutil.copytree(trained, tmp_path / "run")
  spec = json.loads((tmp_path / "run" / "spec.json").read_text())
  (tmp_path / "run" / "spec.json").write_text(json.dumps({**spec, "fingerprint": "0" * 32}))
  assert call(command, f"--workdir={tmp_path / 'run'}", *words) == 2
  err = capfd.readouterr().err
  assert f"the data set is not the one that {tmp_path / 'run'} was trained on" in err and "--data_dir=DIR" in err


@pytest.mark.parametrize(
  ("words", "message"),
  [
    ([], "--workdir=RUN is missing; or give images"),
    (["--workdir=x", "--samples=y"], "not --workdir and --samples"),
    (["--workdir={run}", "--metrics=freshet"], '"freshet" is not one of .*did you mean "frechet"'),
    (
      ["--workdir={run}", "--metrics={'kernel_distance': {'subset': 3}}"],
      "--metrics.kernel_distance.subset is unknown",
    ),
    (["--workdir={run}", "--metrics={'frechet'"], "is not {'name': {'setting': value}}"),
    (["--workdir={run}", "--metrics=intra_frechet"], "needs labels, and the pictures to be scored have none"),
    (
      ["--samples=/nowhere.npz", "--reference=digits", "--metrics=frechet"],
      "is not a directory of pictures, nor a .npz",
    ),
    (["--samples=x.npz"], "needs --reference"),
    (["--samples=x.npz", "--reference=digit"], 'did you mean "digits"'),
    (["--compare=/nowhere"], "does not exist; run python -m experiments.evaluate"),
  ],
)
def test_wrong_words_are_errors_before_any_work(trained, capfd, words, message):
  assert call("evaluate", *(word.replace("{run}", str(trained)) for word in words)) == 2
  assert re.search(message, capfd.readouterr().err)


@pytest.mark.parametrize(
  ("images", "message"),
  [
    (np.full((200, 8, 8, 1), np.nan), "12800 values are not finite"),
    (noisy(200, 8, 8, 3), r"both must be grey \(1 channel\) or both colour"),
    (noisy(200, 12, 12, 1), "pictures of 12x12 against 8x8.*--resize=pad"),
    (noisy(5, 8, 8, 1), "generated pictures or more, and there are 5"),
  ],
)
def test_wrong_pictures_are_errors_before_any_work(tmp_path, capfd, images, message):
  np.savez(tmp_path / "x.npz", images=images)
  assert call("evaluate", f"--samples={tmp_path / 'x.npz'}", "--metrics={'frechet': {'groups': 10}}", *FILES) == 2
  assert re.search(message, capfd.readouterr().err)


def test_points_are_scored_too(tmp_path, capfd):
  words = ["--config=gan:gaussians8,tiny", f"--workdir={tmp_path}", "--config.evaluate.num_samples=200"]
  assert call("train", *words, "--config.evaluate.metrics={'mixture_modes': {}}") == 0
  lines = scores(capfd, f"--workdir={tmp_path}", "--metrics=mixture_modes", "--num_samples=200", "--nofloor")
  assert {line["metric"] for line in lines} == {"mixture_modes", "high_quality", "mixture_modes_kl"}
  assert lines[0]["protocol"]["quantization"] == "none"


def digits_file(path: Path, change=lambda images: images, **arrays: np.ndarray) -> str:
  images = digits().read("train", np.arange(200))["image"]
  np.savez(path, images=change(np.asarray(images)), **arrays)
  return f"--samples={path}"


def test_what_can_be_measured_is_written_before_the_rest_is_reported(tmp_path, capfd):
  samples = digits_file(tmp_path / "x.npz", labels=np.zeros(200, np.int32))
  assert call("evaluate", samples, "--metrics=frechet,intra_frechet", *FILES) == 2
  out, err = capfd.readouterr()
  name, head, row, *_ = out.splitlines()  # a person gets a table, not JSON
  assert name == str(tmp_path / "x.npz") and head.split() == ["metric", "value", "95", "%", "interval", "floor"]
  assert row.startswith("  frechet  ") and "intra_frechet" not in out and "{" not in out
  assert "intra_frechet is left out" in err


def test_a_score_is_shown_though_the_disk_is_full_or_its_floor_fails(trained, tmp_path, monkeypatch, capfd):
  def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")

  monkeypatch.setattr("common.evaluation.records.append", full)
  monkeypatch.setattr("common.evaluation.scoring.Scoring.floor", lambda *_: map(full, [0]))
  assert call("evaluate", f"--workdir={trained}", "--json") == 2
  assert json.loads(capfd.readouterr().out.splitlines()[0])["metric"]
  assert call("evaluate", digits_file(tmp_path / "x.npz"), *FILES, "--floor", "--metrics=frechet", "--json") == 2
  assert json.loads(capfd.readouterr().out)["metric"].startswith("frechet")


def test_padding_is_cut_off_and_margins_do_not_dilute_a_score(tmp_path, capfd):
  plain = digits_file(tmp_path / "plain.npz")
  padded = digits_file(tmp_path / "padded.npz", lambda images: np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0))))
  [plain] = scores(capfd, plain, "--metrics=frechet", *FILES)
  [padded] = scores(capfd, padded, "--metrics=frechet", "--resize=pad", *FILES)
  assert padded["value"] == plain["value"] and padded["protocol"] == plain["protocol"]


def test_restored_pictures_stand_beside_the_input_and_a_classical_method(tmp_path, capfd):
  workdir = untrained(tmp_path / "run", "dncnn:emoji_people,tiny", seed=1)
  records = scores(capfd, f"--workdir={workdir}", "--metrics=psnr", "--num_samples=5")
  classical = ["non-local means"] if importlib.util.find_spec("skimage") else []
  assert [record["source"].get("baseline") for record in records] == [None, "the input", *classical]


def test_a_vae_that_restores_is_scored_over_the_hole_and_draws_again_for_the_same_input(tmp_path, capfd):
  workdir = untrained(tmp_path / "run", "vaeac:digits,tiny", seed=1)
  metrics = "--metrics={'nll': {'k': 2}, 'psnr': {'draws': 3}, 'diversity': {}}"
  found = {record["metric"]: record for record in scores(capfd, f"--workdir={workdir}", metrics, "--num_samples=5")}
  assert found["psnr"]["settings"]["draws"] == 3 and found["diversity"]["value"] > 0.0
  hole = {"name": "box", "height": 8, "width": 8}
  assert (found["nll"]["protocol"]["degradation"], found["nll"]["protocol"]["given"]) == ([hole], "seen")

  run, where = api.load(workdir), np.zeros((16, 16), bool)
  where[4:12, 4:12] = True
  one, two = api.restore(run, noisy(16, 16, 1), where, draws=2)
  assert np.any(one != two) and np.all(one[~where] == noisy(16, 16, 1)[~where])
  assert call("sample", f"--workdir={workdir}") == 2
  assert "this model is given seen, which is not drawn; experiments.restore gives it" in capfd.readouterr().err
  with pytest.raises(ConfigError, match="the model is given seen; only latents of models of labels are found"):
    api.encode(run, noisy(1, 16, 16, 1))
