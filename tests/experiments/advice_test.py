"""Each way out that a command's error names is followed, as it would be typed, and leads out."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigError
from common.evaluation.features import classifier_file
from common.training.program import Program
from tests.advice import ways
from tests.experiments.dcgan_uses_test import untrained
from tests.experiments.runs import call

TRAIN = "train --config=vae:digits,tiny --workdir={new} "
SCORE = "evaluate --feature_cache= --nofloor --features=pixels --metrics=parzen "
SCORED = "--config.evaluate.metrics={{'frechet':{{'groups':2}}}} --config.evaluate.features=pixels "
# A command and how many ways out its error names. A training counts as led out where it would start to compile.
WRONG = [
  (TRAIN + "--noconfig.data.flip", 1),
  (TRAIN + "--config.train.batch_size=50", 1),
  (TRAIN + "--config.data.train_split=train[:9999]", 1),
  (TRAIN + "--config.prior={{'name':'vampprior'}} --config.conditioning={{'name':'concat'}}", 2),
  (TRAIN + "--profile=7:12", 1),
  (TRAIN + "--profile=10:99", 1),
  (TRAIN + SCORED + "--config.evaluate.num_samples=20 --config.checkpoint.keep_best=frechet", 1),
  (TRAIN.replace("vae", "classifier") + "--config.evaluate.metrics={{'frechet':{{}}}}", 1),
  ("evaluate --compare={dcgan}", 1),  # before that run is scored
  (TRAIN.replace("vae:digits", "gan:gaussians8") + SCORED.replace("pixels", "classifier"), 1),
  (TRAIN + SCORED.replace("=pixels", "=classifier:flowers"), 2),
  (TRAIN + SCORED.replace("=pixels", "=random:a"), 1),
  (TRAIN + SCORED.replace("frechet':{{'groups':2}}", "inception_score':{{}}"), 1),
  ("sample --workdir={vae} --checkpoint=best", 1),
  ("sample --workdir={vae} --batch_norm=standing", 1),
  ("sample --workdir={dcgan} --truncation=1.0", 1),
  ("sample --workdir={vae} --prior={dcgan}", 1),
  ("evaluate --workdir={vae} --split=train", 2),
  (SCORE + "--workdir={vae} --num_samples=20 --num_real=9999", 1),
  (SCORE + "--samples={npz} --reference=digits", 3),
  (
    SCORE.replace("pixels", "classifier:{small}").replace("parzen", "prdc") + "--num_samples=60 --workdir={dcgan}",
    1,
  ),
  ("probe --nofloors --workdir={dcgan} --num_train=9999", 1),
  ("probe --nofloors --workdir={dcgan} --memory_mb=1", 1),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, Path]:
  root = tmp_path_factory.mktemp("advice")
  images = np.random.RandomState(0).randint(0, 256, (20, 12, 12, 1)).astype(np.uint8)
  np.savez(root / "images.npz", images=images)
  runs = {name: untrained(root / name, f"{name}:digits,tiny", seed=0) for name in ("vae", "dcgan")}
  return {"new": root / "new", "npz": root / "images.npz", "small": classifier_file.shipped()["digits"], **runs}


def replaced(words: list[str], way: list[str]) -> list[str]:
  """The command with each of the way's flags in the place of the one of that name, whichever form that had."""

  def name(word: str) -> str:
    return word.partition("=")[0].replace("--noconfig", "--config")

  return [word for word in words if name(word) not in map(name, way)] + way


@pytest.mark.parametrize(("command", "number"), WRONG, ids=[command[:70] for command, _ in WRONG])
def test_every_way_out_leads_out(command, number, places, monkeypatch, capfd):
  def stop(program):
    raise ConfigError("it would start")

  monkeypatch.setattr(Program, "init", stop)
  name, *words = (word.format(**places) for word in command.split())
  assert call(name, *words) == 2
  text = capfd.readouterr().err.rpartition("error: ")[2]
  commands = [
    found for found in re.findall(r"python -m experiments\.(\w+)((?: --\S+)+)", text) if "..." not in found[1]
  ]
  found = [] if commands else ways(text)
  assert len(commands) + len(found) == number, text
  for other, its_words in commands:
    _led_out(call(other, *shlex.split(its_words)), capfd)
  for way in found:
    _led_out(call(name, *replaced(words, way)), capfd)


def _led_out(code: int, capfd) -> None:
  err = capfd.readouterr().err
  assert code == 0 or "it would start" in err, err
