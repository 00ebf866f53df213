"""Samplers after the fact, from the command line: of an autoencoder and of a model of codes that were never trained."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from common import random
from common.algorithm import Generative
from common.data.dataset import open_dataset
from common.parallel import make_mesh
from experiments.restore import restore, restore_sampled
from tests.experiments.dcgan_uses_test import untrained
from tests.experiments.runs import call, figures

SMALL = {
  "gmm": "--settings={'components': 3}",
  "two_stage": "--settings={'width': 8, 'layers': 1}",
  "autoregressive": "--settings={'channels': 4, 'layers': 1}",
}


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory) -> Path:
  return untrained(tmp_path_factory.mktemp("autoencoder") / "run", "autoencoder:digits,tiny", seed=0)


def fit(workdir: Path, sampler: str, *words: str) -> int:
  return call("fit_sampler", f"--workdir={workdir}", f"--sampler={sampler}", SMALL[sampler], "--num_steps=10", *words)


@pytest.fixture(scope="module")
def fitted(autoencoder) -> Path:
  assert fit(autoencoder, "gmm") == 0
  return autoencoder


def test_the_latents_are_the_encoders(fitted):
  run = restore(fitted, "last", make_mesh())
  with np.load(fitted / "samplers" / "gmm-0" / "latents.npz") as archive:
    assert {name: z.shape for name, z in archive.items()} == {
      "train": (1400, 1, 1, 32),
      "validation": (97, 1, 1, 32),
      "test": (300, 1, 1, 32),
      "weights": (),
      "shift": (32,),
      "scale": (32,),
    }
    np.testing.assert_allclose(archive["train"].std(axis=0), 1.0, rtol=1e-3)
    test = archive["shift"] + archive["scale"] * archive["test"][:, 0, 0]
  images = open_dataset(run.config.data).test.rows(np.arange(5))["image"] / np.float32(255)
  nothing, rows = np.zeros((5, 0)), random.row_keys(jax.random.key(0), np.arange(5))
  encode = jax.jit(lambda v, x: run.algorithm.network.apply(v, x, nothing, rows, method="encode"))
  np.testing.assert_allclose(test[:5], encode(run.state.net.variables(), images)[0], atol=1e-5)


def test_the_same_command_goes_on(fitted, capfd):
  """Here: it sees that nothing is left to do, from the latents that it wrote down."""
  latents = fitted / "samplers" / "gmm-0" / "latents.npz"
  before = latents.stat().st_mtime_ns
  assert fit(fitted, "gmm") == 0
  assert "resumed from step 10" in capfd.readouterr().err
  assert latents.stat().st_mtime_ns == before
  assert [line["step"] for line in figures(latents.parent)] == [10, 10]


def test_pictures_need_the_runs_directory_only(fitted, tmp_path, capfd):
  moved = fitted.rename(tmp_path / "moved")
  try:
    assert call("sample", f"--workdir={moved}", "--sampler=gmm", "--num=5", "--seed=3", "--columns=5") == 0
    assert "at its best step, 10" in capfd.readouterr().err
    assert np.asarray(Image.open(moved / "samples-gmm-seed3.png")).shape == (36, 5 * 36)
  finally:
    moved.rename(fitted)


def test_a_score_names_the_sampler(fitted, capfd):
  words = ["--metrics=parzen,model", "--num_samples=50", "--floor=false", "--features=pixels"]
  assert call("evaluate", f"--workdir={fitted}", "--sampler=gmm", "--json", *words) == 0
  lines = {line["metric"]: line for line in map(json.loads, capfd.readouterr().out.splitlines())}
  assert {"distortion", "latent_nll"} < set(lines)
  for line in lines.values():
    assert line["protocol"]["sampler"] == "gmm(components=3), best of 10 steps"
    assert (line["source"]["workdir"], line["source"]["family"], line["source"]["step"]) == (str(fitted), "vae", 0)
  place = fitted / "samplers" / "gmm-0"
  density = restore(place, "best", make_mesh())
  with np.load(place / "latents.npz") as archive:
    z, log_scale = archive["test"][:, 0, 0], np.sum(np.log(archive["scale"]))
  log_p = jax.jit(lambda v, z: density.algorithm.module.apply(v, z, method="log_prob"))
  nll = log_scale - np.mean(log_p(density.state.net.variables(ema=True), z))
  assert lines["latent_nll"]["value"] == pytest.approx(float(nll), rel=1e-3)


def test_a_second_stage(autoencoder, tmp_path):
  assert fit(autoencoder, "two_stage") == 0
  words = ["--sampler=two_stage", "--num=3", f"--out={tmp_path / 'a.npz'}"]
  assert call("sample", f"--workdir={autoencoder}", *words) == 0


def test_codes(tmp_path, capfd):
  workdir = untrained(tmp_path / "codes", "vq_vae:digits,tiny", seed=0)
  assert fit(workdir, "autoregressive") == 0
  with np.load(workdir / "samplers" / "autoregressive-0" / "latents.npz") as archive:
    numbers = archive["train"]
  assert numbers.shape == (1400, 1, 1, 16) and set(np.unique(numbers)) <= set(range(16))
  capfd.readouterr()
  assert call("evaluate", f"--workdir={workdir}", "--sampler=autoregressive", "--json") == 0
  lines = {line["metric"]: line["value"] for line in map(json.loads, capfd.readouterr().out.splitlines())}
  nats = 16 * 16 * np.log(2.0) * lines["latent_bits_per_dim"]
  assert lines["rate"] == pytest.approx(nats, rel=1e-5) and 0 < nats < 16 * np.log(16.0) * 1.1
  run = restore_sampled(workdir, "last", "autoregressive", make_mesh())
  assert isinstance(run.algorithm, Generative)
  assert run.sampler == "autoregressive(channels=4, height=4, layers=1, num_codes=16, width=4), best of 10 steps"


@pytest.mark.parametrize(
  ("command", "words", "message"),
  [
    (
      "sample",
      ["--sampler=flow"],
      "not fitted to step 0 of .*fit it: python -m experiments.fit_sampler --workdir=.*flow",
    ),
    ("sample", ["--sampler=gmm", "--show=manifold"], "--sampler=gmm is for --show=samples"),
    ("sample", ["--sampler=gmm", "--truncation=1"], r"truncation=1.0 is for latents from N\(0, I\)"),
    ("sample", [], r"has no distribution of its latents.*fit_sampler"),
    ("evaluate", ["--sampler=autoregressive"], "is of codes, and this model has none"),
    ("evaluate", ["--sampler=gmm", "--metrics=nll"], "need a posterior with a density"),
    ("fit_sampler", ["--sampler=autoregressive"], "is of codes, and this model has none"),
    ("fit_sampler", ["--sampler=gmm", "--settings={'componets': 3}"], 'did you mean "components"'),
    ("fit_sampler", ["--sampler=gmm", "--settings=[3]"], r"--settings=\[3\] is not"),
    ("fit_sampler", ["--sampler=gmm", "--num_steps=20"], "holds a run with other settings"),
    ("fit_sampler", [], "--sampler=... is missing"),
  ],
)
def test_wrong_words_are_short_errors(fitted, capfd, command, words, message):
  assert call(command, f"--workdir={fitted}", *words) == 2
  assert re.search(message, capfd.readouterr().err)


def test_a_sampler_of_another_step_or_unfinished(fitted, capfd):
  place = fitted / "samplers" / "gmm-0"
  other = place.rename(place.with_name("gmm-7"))
  assert call("sample", f"--workdir={fitted}", "--sampler=gmm") == 2
  assert "not fitted to step 0" in (err := capfd.readouterr().err) and "fitted to step 7 only" in err
  other.rename(place)
  text = (place / "config.json").read_text()
  (place / "config.json").write_text(text.replace('"num_steps": 10', '"num_steps": 30'))
  assert call("sample", f"--workdir={fitted}", "--sampler=gmm") == 2
  assert "fitted for 10 of its 30 steps; go on: python -m" in capfd.readouterr().err
  (place / "config.json").write_text(text)
  assert call("sample", f"--workdir={place}") == 2
  assert "holds a sampler, which makes no pictures" in capfd.readouterr().err
