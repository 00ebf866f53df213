"""The functions of experiments.api, and the notebook that shows them."""

import json

import numpy as np
import pytest

from common.errors import ConfigError, NonFiniteError
from experiments import ROOT, api

SETTINGS = {
  "train.num_steps": 10,
  "log.every": 5,
  "evaluate.every": 10,
  "checkpoint.every": 10,
}
GIVEN_LABELS = {**SETTINGS, "conditioning": {"name": "concat"}}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("api") / "run"
  assert api.train(api.load_config("dcgan:digits,tiny", GIVEN_LABELS), workdir) == 10
  return workdir


def test_a_config_takes_settings_by_path():
  sgd = {"name": "sgd", "learning_rate": 0.5}
  config = api.load_config("vae:digits,tiny", {"train.batch_size": 24, "optim.momentum": 0.9, "optim": sgd})
  assert config.is_locked and config.train.batch_size == 24 and config.optim.to_dict() == {**sgd, "momentum": 0.9}
  with pytest.raises(ConfigError, match=r'config\.train\.batch_sise is unknown.*did you mean "batch_size"'):
    api.load_config("vae:digits", {"train.batch_sise": 8})
  with pytest.raises(ConfigError, match="batch_size=0 must be above 0"):
    api.load_config("vae:digits", {"train.batch_size": 0})


def test_a_run_is_continued_loaded_and_read(workdir):
  longer = api.load_config("dcgan:digits,tiny", {**GIVEN_LABELS, "train.num_steps": 20})
  assert api.train(longer, workdir) == 20
  assert api.load(workdir).step == 20
  assert [line["step"] for line in api.metrics_of(workdir) if line["split"] == "train"] == [5, 10, 15, 20]
  with pytest.raises(ConfigError, match="is not the workdir of a run"):
    api.load(workdir / "nothing")


def test_samples_depend_on_the_seed_and_their_labels(workdir, tmp_path):
  run = api.load(workdir)
  images, labels = api.sample(run, 6, seed=3)
  assert images.shape == (6, 16, 16, 1) and labels.shape == (6,)
  again = api.sample(run, 4, seed=3, labels=labels[:4])
  np.testing.assert_allclose(again.images, images[:4], atol=1e-5)
  assert np.abs(api.sample(run, 6, seed=4).images - images).max() > 0.01
  between = api.interpolate(run, 2, 5, labels=np.array([1, 7], np.int32))
  assert between.images.shape == (10, 16, 16, 1) and between.labels.tolist() == [1] * 5 + [7] * 5
  api.save_images(tmp_path / "images.npz", run, between)
  with np.load(tmp_path / "images.npz") as saved:
    assert saved["images"].dtype == np.uint8 and saved["labels"].tolist() == between.labels.tolist()
  api.save_images(tmp_path / "images.png", run, between)
  assert (tmp_path / "images.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_and_its_files_have_one_score(workdir, tmp_path):
  options = {"features": "pixels", "floor": False, "feature_cache": "", "num_samples": 300}
  [record] = api.evaluate(workdir, "frechet", **options)
  assert json.loads((workdir / "evaluations.jsonl").read_text().splitlines()[-1])["value"] == record["value"]
  run = api.load(workdir)
  api.save_images(tmp_path / "images.npz", run, api.sample(run, 300))
  [of_files] = api.evaluate_files(tmp_path / "images.npz", "digits", "frechet", resize="crop", **options)
  assert of_files["value"] == pytest.approx(record["value"], rel=0.05)
  assert "frechet" in api.table([record])
  with pytest.raises(ConfigError, match='"frechett" is not one of .*did you mean "frechet"'):
    api.evaluate(workdir, {"frechett": {}}, **options)


def test_a_loss_that_is_not_finite_is_an_exception(tmp_path):
  config = api.load_config("vae:digits,tiny", {**SETTINGS, "optim": {"name": "sgd", "learning_rate": 1e30}})
  with pytest.raises(NonFiniteError, match="no checkpoint was saved yet. Try a lower learning rate"):
    api.train(config, tmp_path / "run")


def test_the_notebook_runs(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  notebook = json.loads((ROOT / "experiments" / "first_steps.ipynb").read_text(encoding="utf-8"))
  names: dict[str, object] = {}
  for cell in notebook["cells"]:
    if cell["cell_type"] == "code":
      exec("".join(cell["source"]), names)
  assert names["images"].shape[1:] == (16, 16, 1) and names["records"]
