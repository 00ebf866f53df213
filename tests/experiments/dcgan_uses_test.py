"""What the DCGAN paper does with a trained run: arithmetic on latents, and a linear classifier on D's features."""

import json
import re
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from common.data.spec import Spec
from common.errors import ConfigError
from common.evaluation.features.extractor import Extractor
from common.training.checkpoint import Checkpoints
from common.training.program import make_state
from common.training.workdir import write_description
from configs import schema
from experiments import build_algorithm, sample
from experiments.latents.arithmetic import Classifier, add_terms, classifier_of, panel
from tests.experiments.runs import call
from tests.tiny import config_of, dataset_of


def untrained(workdir: Path, variant: str, seed: int) -> Path:
  """The workdir of a run that starts from another seed than its config says, at its first step."""
  config, spec = config_of(variant), dataset_of(variant).spec
  algorithm = build_algorithm(config, spec)
  state = jax.jit(lambda: make_state(algorithm, spec, seed))()
  workdir.mkdir()
  with Checkpoints(workdir / "checkpoints", keep=1) as checkpoints:
    checkpoints.save(0, state, {})
    checkpoints.wait()
  write_description(workdir, {"version": schema.VERSION, **config.to_dict()}, spec)
  return workdir


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
  return untrained(tmp_path_factory.mktemp("dcgan") / "run", "dcgan:digits,tiny", seed=1)


def quadrants(context):
  """Names the brightest quarter of a picture."""

  def apply(variables, images):
    size = images.shape[1] // 2
    parts = images.astype(jnp.float32).reshape(len(images), 2, size, 2, -1)
    logits = jnp.mean(parts, axis=(2, 4)).reshape(len(images), 4)
    return logits, logits

  return Extractor("quadrants", {}, apply, num_classes=4)


class Identity:
  """Latents of 2x2 that are pictures of themselves, in a tuple as a VAE's."""

  def latents(self, state, seed, index):
    return (jnp.asarray(np.random.default_rng(seed).uniform(-1.0, 1.0, (len(index), 4)), jnp.float32),)

  def decode(self, state, z, labels):
    assert labels is None
    return np.asarray(z[0]).reshape(-1, 2, 2, 1)


class Brightest:
  """Its log odds are the pixels."""

  name, num_classes = "brightest", 4

  def log_odds(self, pictures):
    return pictures.reshape(len(pictures), -1).astype(np.float64)


def test_the_sum_is_of_the_surest_latents():
  words = {"average": 3, "noise": 0.25, "seed": 1}
  terms = [(1, 2), (-1, 0), (1, 3)]
  found, again = (add_terms(Identity(), None, Brightest(), terms, num=200, **words) for _ in range(2))
  np.testing.assert_array_equal(again.result, found.result)
  with pytest.raises(ConfigError, match="of 4 pictures 2 are named class 2, fewer than --average=3; raise --num"):
    add_terms(Identity(), None, Brightest(), [(1, 2)], num=4, **words)
  z = np.asarray(Identity().latents(None, 1, np.arange(200))[0])
  means = [z[np.argsort(np.where(np.argmax(z, 1) == k, -z[:, k], 9.0))[:3]].mean(axis=0) for k in (2, 0, 3)]
  np.testing.assert_allclose(found.means.reshape(3, 4), means, atol=1e-6)
  total = means[0] - means[1] + means[2]
  np.testing.assert_allclose(found.result[0].ravel(), total, atol=1e-6)
  noise = found.result[1:].reshape(8, 4) - total
  assert np.abs(noise).max() <= 0.25 + 1e-6 and np.abs(noise).max() > 0.2 and len(np.unique(noise)) == 32
  assert found.beyond == (np.sum(np.abs(total) > np.abs(z).max()), 4)
  assert found.length == pytest.approx((np.linalg.norm(total), np.mean(np.linalg.norm(z, axis=1))))
  assert f"the result is named {np.argmax(total)} with" in found.report(terms, "brightest", 200)[4]
  picture = panel(found, (-1.0, 1.0))
  assert picture.shape == (4 * 36, 7 * 36, 1)  # three exemplars and their mean; three terms, a gap, 3x3
  cells = picture.reshape(4, 36, 7, 36)[:, 2:-2, :, 2:-2].swapaxes(1, 2)[:, :, ::16, ::16]
  amid = np.clip(np.rint((total + 1.0) * 127.5), 0, 255)
  np.testing.assert_array_equal(cells[2, 5].ravel(), amid)
  assert np.all(cells[:, 3] == 128) and np.all(cells[0, 4:] == 128)


def test_log_odds_tell_the_surest_apart():
  class Embedder:
    def __call__(self, images):
      logits = np.float32([[80.0, 0.0, 0.0], [40.0, 0.0, 0.0], [0.0, 1.0, -1.0]])
      return type("Embedded", (), {"logits": logits})

  spec = Spec((4, 4, 1), 3, 1, "images", (0.0, 1.0), "")
  odds = Classifier("three", 3, Embedder(), spec, (4, 4, 1)).log_odds(np.zeros((3, 4, 4, 1)))
  np.testing.assert_allclose(odds[:2, 0], [80.0 - np.log(2.0), 40.0 - np.log(2.0)])
  p = np.exp([0.0, 1.0, -1.0]) / np.sum(np.exp([0.0, 1.0, -1.0]))
  np.testing.assert_allclose(odds[2], np.log(p / (1.0 - p)), rtol=1e-6)


def test_arithmetic_of_a_run(workdir, capfd):
  words = [f"--workdir={workdir}", "--terms=0-1+2", "--num=64", f"--features={__name__}:quadrants"]
  assert call("arithmetic", *words, f"--out={workdir / 'a.png'}") == 0
  out = capfd.readouterr().out
  assert re.search(r"the result is named \d with probability \d\.\d+; \d of 8", out)
  assert "of 100 coordinates are beyond" in out and f"{workdir / 'a.png'}  (step 0, raw weights)" in out
  assert np.asarray(Image.open(workdir / "a.png")).shape == (4 * 36, 7 * 36)


@pytest.mark.parametrize(
  ("command", "words", "message"),
  [
    ("arithmetic", ["--terms=9--7"], "--terms=9--7 is not a sum of classes"),
    ("arithmetic", [], "--terms=... is missing"),
    ("arithmetic", ["--terms=1-10+3"], "10 is not one of the classes 0 .. 9"),
    ("arithmetic", ["--terms=1-0", "--features=pixels"], "--features=pixels names no classes"),
    ("arithmetic", ["--terms=1-0", "--features=classifier:flowers"], 'no classifier of "flowers" is known'),
    ("probe", ["--num_train=1401"], "--num_train=1401: the training split has 1,400"),
    ("probe", ["--memory_mb=1"], r"1,700 x 384 features take 3 MB, more than --memory_mb=1; .*--num_train"),
    ("probe", ["--checkpoint=best"], "best"),
  ],
)
def test_wrong_words_are_short_errors(workdir, capfd, command, words, message):
  assert call(command, f"--workdir={workdir}", *words) == 2
  assert re.search(message, capfd.readouterr().err)


@pytest.mark.parametrize(
  ("features", "spec", "message"),
  [
    ("classifier", Spec((8, 8, 3), 10, 1, "images", (0.0, 1.0), ""), 'no classifier of "blobs" is known'),
    ("classifier:digits", Spec((8, 8, 3), 10, 1, "images", (0.0, 1.0), ""), "takes pictures of 1 channels"),
    ("classifier", Spec((1, 2, 1), 8, 1, "points", (0.0, 1.0), ""), "these are points"),
    ("random", Spec((1, 2, 1), 8, 1, "points", (0.0, 1.0), ""), "these are points"),
    ("pixels", Spec((8, 8, 3), 10, 1, "images", (0.0, 1.0), ""), "names no classes"),
  ],
)
def test_arithmetic_advises_what_names_classes(features, spec, message):
  data = types.SimpleNamespace(name="blobs", resize="crop")
  with pytest.raises(ConfigError, match=message) as error:
    classifier_of(features, data, spec, jax.make_mesh((1,), ("data",)), Path())
  advice = str(error.value).partition("; ")[2]
  assert "--features=module:function" in advice and not re.search("random|pixels|inception", advice)
  assert ("classifier:FILE" in advice) == (spec.kind == "images")


def test_the_probe_of_a_run(workdir, capfd):
  assert call("probe", f"--workdir={workdir}", "--num_train=600", "--json") == 0
  lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
  kept = [json.loads(line) for line in (workdir / "evaluations.jsonl").read_text().splitlines()]
  assert kept == lines and [line["metric"] for line in lines] == [
    "linear_probe",
    "linear_probe_untrained",
    "linear_probe_pixels",
  ]
  ours, untrained, pixels = lines
  assert ours["protocol"] == pixels["protocol"] and ours["protocol"]["n_train"] == 600
  assert (ours["protocol"]["n_real"], ours["protocol"]["split"], ours["better"]) == (300, "test", "max")
  assert len(ours["protocol"]["real_sha"]) == 8
  assert ours["source"]["layers"] == ["input of Conv_1, 8x8x8", "input of Dense_0, 4x4x16"]
  assert (ours["source"]["dimension"], pixels["source"]["dimension"]) == (4 * 4 * (8 + 16), 16 * 16)
  assert (ours["source"]["step"], ours["source"]["weights"]) == (0, "raw")
  assert untrained["source"]["weights"] == "as initialised" and untrained["value"] != ours["value"]
  assert all(line["source"]["gradient_ratio"] <= 1e-3 and 0.0 < line["standard_error"] < 0.03 for line in lines)
  assert all(line["value"] > 0.8 for line in lines)


@pytest.fixture(scope="module")
def conditional(tmp_path_factory) -> Path:
  return untrained(tmp_path_factory.mktemp("cgan") / "run", "cgan:digits,tiny", seed=0)


def test_pictures_of_labels_are_kept_with_them(conditional, tmp_path):
  """A row a class; and drawn labels are those that the same command draws again."""
  rows, some = tmp_path / "rows.npz", tmp_path / "some.npz"
  assert call("sample", f"--workdir={conditional}", "--labels=all", "--columns=3", f"--out={rows}") == 0
  assert call("sample", f"--workdir={conditional}", "--num=7", f"--out={some}") == 0
  with np.load(rows) as found, np.load(some) as drawn:
    assert found["labels"].tolist() == [label for label in range(10) for _ in range(3)]
    assert found["images"].shape == (30, 8, 8, 1) and drawn["labels"].shape == (7,)
    same = np.flatnonzero(drawn["labels"] == found["labels"][:7])
    for i in range(7):  # picture i is of latent i and its label
      assert np.array_equal(drawn["images"][i], found["images"][i]) == (i in same)


def test_labels_go_by_the_names_of_the_classes_that_occur(monkeypatch):
  chosen = types.SimpleNamespace(labels=["all"], interpolate=0, columns=2, num=3)
  monkeypatch.setattr(sample, "FLAGS", chosen)
  numbered = types.SimpleNamespace(labels=(1, 3, 9), class_names=())
  named = types.SimpleNamespace(labels=(0, 1), class_names=("cat", "dog"))
  for words, spec, expected in (
    (["all"], numbered, [1, 1, 3, 3, 9, 9]),
    (["9", "1"], numbered, [9, 1, 9]),
    (["dog", "0"], named, [1, 0, 1]),
  ):
    chosen.labels = words
    assert sample._labels(True, spec, 3).tolist() == expected
  for spec, rule in ((numbered, "1, 3, 9"), (named, "cat, dog")):
    chosen.labels = ["7"]
    with pytest.raises(ConfigError, match=f"7 is not one of {rule}; all stands alone"):
      sample._labels(True, spec, 3)


def test_models_that_these_are_not_for(conditional, capfd):
  assert call("arithmetic", f"--workdir={conditional}", "--terms=1-0+2") == 2
  assert "holds a conditional model, where labels give the classes" in capfd.readouterr().err
  assert call("probe", f"--workdir={conditional}") == 2
  assert '"concat" tells the discriminator the label' in capfd.readouterr().err
