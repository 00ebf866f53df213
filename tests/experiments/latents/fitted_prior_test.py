"""Densities of latents from the command line, as priors of an autoencoder and of a model of codes, both untrained."""

import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from common import random
from common.data.dataset import open_dataset
from common.parallel import make_mesh
from experiments import api
from experiments.loading import load_run
from tests.experiments.dcgan_uses_test import untrained
from tests.experiments.runs import call, figures

SMALL = {
  "gmm": {"sampler.components": 3},
  "two_stage": {"model.width": 8, "model.layers": 1},
  "autoregressive": {"sampler.channels": 4, "sampler.layers": 1},
  "text": {"sampler.width": 8, "sampler.layers": 1, "sampler.heads": 2},
}


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory) -> Path:
  return untrained(tmp_path_factory.mktemp("autoencoder") / "run", "autoencoder:digits,tiny", seed=0)


def fit(run: Path, density: str, **changes: object) -> int:
  """Trains a small density of the run's latents in RUN-DENSITY for 10 steps; in ``changes`` __ stands for a dot."""
  settings = {"data.dir": run, "train.num_steps": 10, "train.steps_per_call": 1, **SMALL[density]}
  settings |= {path.replace("__", "."): value for path, value in changes.items()}
  words = [f"--config.{path}={value}" for path, value in settings.items()]
  return call("train", f"--config=samplers:{density}", f"--workdir={run}-{density}", *words)


@pytest.fixture(scope="module")
def fitted(autoencoder) -> Path:
  """The autoencoder's workdir, beside which is that of a density."""
  assert fit(autoencoder, "gmm") == 0
  return autoencoder


def prior_of(run: Path, density: str = "gmm") -> str:
  return f"--prior={run}-{density}"


def latents_of(run: Path) -> Path:
  (file,) = (run / "latents").iterdir()
  return file


def test_the_latents_are_the_encoders(fitted):
  run = load_run(fitted, "last", make_mesh())
  with np.load(latents_of(fitted)) as archive:
    sizes = {"train": 1400, "validation": 97, "test": 300}
    shapes = {name: (size, 1, 1, 32) for name, size in sizes.items()}
    shapes |= {f"{name} label": (size,) for name, size in sizes.items()}
    shapes |= {"shift": (1, 1, 32), "scale": (1, 1, 32), "num_classes": ()}
    assert {name: z.shape for name, z in archive.items()} == shapes
    np.testing.assert_allclose(archive["train"].std(axis=0), 1.0, rtol=1e-3)
    test = (archive["shift"] + archive["scale"] * archive["test"])[:, 0, 0]
  images = open_dataset(run.config.data).test.rows(np.arange(5))["image"] / np.float32(255)
  nothing, keys = np.zeros((5, 0)), random.row_keys(jax.random.key(0), np.arange(5))
  encode = jax.jit(lambda v, x: run.algorithm.network.apply(v, x, nothing, keys, method="encode"))
  np.testing.assert_allclose(test[:5], encode(run.state.net.variables(), images)[0], atol=1e-5)


def test_the_same_command_goes_on_from_the_latents_that_are_there(fitted, capfd):
  before = latents_of(fitted).stat().st_mtime_ns
  assert fit(fitted, "gmm") == 0
  assert "resumed from step 10" in capfd.readouterr().err
  assert latents_of(fitted).stat().st_mtime_ns == before
  mean = api.load(f"{fitted}-gmm").state.net.params["mean"]
  assert np.abs(mean).max() > 0.5  # it began at clusters: 10 steps of Adam move a 0 by 0.05
  steps = [line["step"] for line in figures(Path(f"{fitted}-gmm"))]
  assert steps == [step for step in range(1, 11) for _ in ("train", "validation")]


def test_pictures_need_the_two_workdirs_only(fitted, tmp_path, capfd):
  moved, gmm = (shutil.copytree(source, tmp_path / name) for source, name in ((fitted, "a"), (f"{fitted}-gmm", "b")))
  assert call("sample", f"--workdir={moved}", f"--prior={gmm}", "--num=5", "--seed=3", "--columns=5") == 0
  assert re.search(r"the prior is gmm of \S+b at its best step, \d+", capfd.readouterr().err)
  assert np.asarray(Image.open(moved / "samples-b-seed3.png")).shape == (36, 5 * 36)


def test_a_score_names_the_density(fitted, capfd):
  words = ["--metrics=parzen,model", "--num_samples=50", "--floor=false", "--features=pixels"]
  assert call("evaluate", f"--workdir={fitted}", prior_of(fitted), "--json", *words) == 0
  lines = {line["metric"]: line for line in map(json.loads, capfd.readouterr().out.splitlines())}
  assert {"distortion", "latent_nll"} < set(lines)
  for line in lines.values():
    assert line["protocol"]["sampler"] == "gmm(components=3), best of 10 steps"
    assert (line["source"]["workdir"], line["source"]["family"], line["source"]["step"]) == (str(fitted), "vae", 0)
  assert call("evaluate", f"--workdir={fitted}-gmm", "--checkpoint=best", "--json") == 0
  (of_density,) = map(json.loads, capfd.readouterr().out.splitlines())
  with np.load(latents_of(fitted)) as archive:
    nll = of_density["value"] + np.sum(np.log(archive["scale"]))
  assert lines["latent_nll"]["value"] == pytest.approx(float(nll), rel=1e-3)


def test_a_second_stage_is_a_vae_of_latents_of_their_size(autoencoder):
  assert fit(autoencoder, "two_stage") == 0
  config = api.load(f"{autoencoder}-two_stage").config
  assert (config.family, config.model.z_dim, config.objective.beta.steps) == ("vae", 32, 5)
  run = api.load(autoencoder, prior=f"{autoencoder}-two_stage")
  assert api.sample(run, 3).images.shape == (3, 16, 16, 1)


def test_a_density_of_codes_gets_their_map_and_number(tmp_path):
  workdir = untrained(tmp_path / "codes", "vq_vae:digits,tiny", seed=0)
  assert fit(workdir, "autoregressive") == 0
  with np.load(latents_of(workdir)) as archive:
    numbers = archive["train"]
  assert numbers.shape == (1400, 4, 4, 1) and set(np.unique(numbers)) <= set(range(16))
  run = api.load(workdir, prior=f"{workdir}-autoregressive")
  assert run.sampler == "autoregressive(channels=4, layers=1, num_codes=16), best of 10 steps"
  assert api.sample(run, 3).images.shape == (3, 16, 16, 1)


@pytest.fixture(scope="module")
def codes_of_captions(tmp_path_factory) -> Path:
  """A model of codes that reads no captions, beside which is a transformer that does."""
  workdir = untrained(tmp_path_factory.mktemp("captions") / "run", "vq_vae:emoji_people,tiny", seed=0)
  assert fit(workdir, "text") == 0
  return workdir


def test_a_prior_is_given_captions_that_its_model_is_not(codes_of_captions, capfd, tmp_path):
  """Drawn under other settings than in training, and scored by the pictures of the captions; training goes on."""
  workdir = codes_of_captions
  with np.load(latents_of(workdir)) as archive:
    assert archive["test text"][0] == "man artist: light skin tone" and archive["num_classes"] == 12
  prior = f"--prior={workdir}-text:guidance=3,top_k=2"
  run = api.load(workdir, prior=prior.partition("=")[2])
  assert run.algorithm.given == ("text",)
  assert all(f"{each}," in run.sampler for each in ("given=text", "guidance=3", "top_k=2"))
  words = ["--text=woman judge: dark skin tone", "--num=2", f"--out={tmp_path}/a.png"]
  assert call("sample", f"--workdir={workdir}", prior, *words) == 0
  metrics = "--metrics=psnr,model"
  assert call("evaluate", f"--workdir={workdir}", prior, metrics, "--floor=false", "--json", "--num_samples=3") == 0
  lines = {line["metric"]: line for line in map(json.loads, capfd.readouterr().out.splitlines()[1:])}
  assert lines["psnr"]["protocol"]["n_fake"] == 3 and "latent_bits_per_dim" in lines
  assert fit(workdir, "text") == 0
  assert "resumed from step 10" in capfd.readouterr().err


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ("guidence=3", 'guidence=3" is none of guidance=NUMBER, .*did you mean "guidance"'),
    ("guidance=x", 'guidance=x" is none of'),
    ("guidance='x'", "config.sampler.guidance='x' must be a finite number"),
    ("steps=4", r"steps=4 is no setting of this prior \(transformer\)"),
  ],
)
def test_wrong_settings_of_draws_are_short_errors(codes_of_captions, capfd, settings, message):
  prior = f"--prior={codes_of_captions}-text:{settings}"
  assert call("sample", f"--workdir={codes_of_captions}", prior, "--text=man") == 2
  assert re.search(message, capfd.readouterr().err)


@pytest.mark.parametrize(
  ("command", "words", "message"),
  [
    (
      "sample",
      ["--prior={run}"],
      "was trained on digits, and this checkpoint's latents are latents:0-.*experiments.train --",
    ),
    ("sample", ["--prior={run}-flow"], "run-flow/config.json"),
    ("sample", ["--prior={run}-gmm", "--show=manifold"], "gmm has no effect on manifold"),
    ("sample", ["--prior={run}-gmm", "--truncation=1"], r"truncation=1.0 is for latents from N\(0, I\)"),
    ("sample", [], r"has no distribution of its latents.*--config=samplers:gmm"),
    ("evaluate", ["--prior={run}-gmm", "--metrics=nll"], "need a posterior with a density"),
  ],
)
def test_wrong_words_are_short_errors(fitted, capfd, command, words, message):
  assert call(command, f"--workdir={fitted}", *(word.format(run=fitted) for word in words)) == 2
  assert re.search(message, capfd.readouterr().err)


@pytest.mark.parametrize(
  ("density", "changes", "message"),
  [
    ("autoregressive", {}, "is one of codes, and this model has none"),
    ("gmm", {"sampler__componets": 3}, 'did you mean "components"'),
    ("gmm", {"data__dir": ""}, 'config.data.dir="" must name the run of a VAE'),
    ("gmm", {"data__name": "latents:best"}, "has no best checkpoint"),
    ("gmm", {"sampler__components": 4}, "components: 3 -> 4"),
  ],
)
def test_a_training_that_cannot_be_is_a_short_error(fitted, capfd, density, changes, message):
  assert fit(fitted, density, **changes) == 2
  assert message in capfd.readouterr().err


def test_other_weights_have_other_latents(fitted, tmp_path, capfd):
  """Also those of the same step of the same workdir: what was fitted to the former is refused."""
  place = untrained(tmp_path / "run", "autoencoder:digits,tiny", seed=1)
  shutil.copytree(fitted / "latents", place / "latents")
  assert call("sample", f"--workdir={place}", prior_of(fitted)) == 2
  assert re.search(r"was trained on latents:0-(\w+), and .* are latents:0-(?!\1)\w+;", capfd.readouterr().err)
  assert fit(place, "gmm") == 0
  assert len(list((place / "latents").iterdir())) == 2
  shutil.rmtree(place / "latents")
  assert call("sample", f"--workdir={place}", prior_of(place)) == 2
  assert "is missing, which has the units of" in capfd.readouterr().err
  shutil.rmtree(f"{place}-gmm/best")
  assert fit(place, "gmm") == 0  # it writes the latents again
  assert call("sample", f"--workdir={place}", prior_of(place)) == 2
  assert "has no best checkpoint yet" in capfd.readouterr().err


def test_images_that_are_gone_are_looked_for_by_the_command_of_their_run(tmp_path, capfd):
  run = untrained(tmp_path / "run", "autoencoder:digits,tiny", seed=1)
  file = run / "config.json"
  file.write_text(file.read_text().replace('"name": "digits"', '"name": "mnist"'))
  assert fit(run, "gmm") == 2
  assert re.search("images of .*run cannot be read; give its own training command once more", capfd.readouterr().err)
