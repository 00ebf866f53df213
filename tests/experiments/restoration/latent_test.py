"""Searches of latents, with a linear model whose answers are known."""

import numpy as np
import pytest

from common.data.images import to_uint8
from common.errors import ConfigError
from experiments import api
from experiments.restoration import latent
from experiments.restoration.latent import LatentSearch, degradation_of
from tests.experiments.dcgan_uses_test import untrained
from tests.experiments.restoration.fake import prior_of

SETTINGS = {"restarts": 2, "steps": 300, "learning_rate": 0.1}
SHAPE = (8, 8, 1)


def pictures(run, num=3, **given):
  z = np.random.default_rng(2).normal(size=(num, 3)).astype(np.float32) / 2
  images = run.algorithm.decode(run.state, z, {name: np.full(num, value) for name, value in given.items()} or None)
  return np.rint(np.asarray(images) * 255).astype(np.uint8)


def test_a_hole_is_filled_by_what_explains_the_rest():
  run, hole = prior_of(), np.zeros((8, 8), bool)
  hole[2:5, 1:7] = True
  true = pictures(run)
  seen = np.where(hole[..., None], np.uint8(7), true)
  found = LatentSearch(run, **SETTINGS)(seen, hole)
  np.testing.assert_array_equal(found.images[:, ~hole], true[:, ~hole])
  np.testing.assert_allclose(found.images[:, hole], true[:, hole].astype(int), atol=1)
  assert np.all(found.error < 1 / 255)
  seen[:, 0, 0] = 255  # what no latents explain is the error, of the values that were seen
  weights, values = run.state[:, ~hole.ravel()], seen[:, ~hole, 0] / 255 - 0.5
  best = np.linalg.lstsq(weights.T, values.T, rcond=None)[0].T @ weights
  error = LatentSearch(run, **SETTINGS)(seen, hole).error
  np.testing.assert_allclose(error, np.sqrt(np.mean((best - values) ** 2, axis=1)), rtol=1e-3)


def test_a_degradation_is_undone_in_batches(monkeypatch):
  monkeypatch.setattr(latent, "BATCH", 2)
  run, degrade = prior_of(), degradation_of("[{'name':'resize','scale':2}]", SHAPE)
  true = pictures(run)
  seen = np.rint(np.asarray(degrade(true.astype(np.float32) / 255)) * 255).astype(np.uint8)
  search = LatentSearch(run, degrade, **SETTINGS)
  assert seen.shape[1:] == search.seen_shape == (4, 4, 1)
  np.testing.assert_allclose(search(seen).images, true.astype(int), atol=3)
  assert search._step._cache_size() == 1


def test_a_conditional_model_is_searched_under_each_label():
  run = prior_of(given=("label",))
  true = np.concatenate([pictures(run, label=0), pictures(run, label=1)])
  search = LatentSearch(run, **SETTINGS)
  np.testing.assert_allclose(search(true).images, true.astype(int), atol=1)
  assert search._step._cache_size() == 1


def test_a_conditional_gan_finds_its_own_picture(tmp_path):
  run = api.load(untrained(tmp_path / "run", "cgan:digits,tiny", seed=1))
  drawn = to_uint8(api.sample(run, 1).images, run.spec.pixel_range)
  found = LatentSearch(run, restarts=1, steps=100, learning_rate=0.05)(drawn)
  np.testing.assert_allclose(found.images, drawn.astype(int), atol=1)
  assert found.error < 1 / 255


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("resize", "is no list of sections"),
    ("[{'name':'resize','scale':3}]", "must divide both sides"),
    ("[{'name':'blur'}]", "blur"),
    ("[{'name':'gaussian_noise','sigma':25}]", "draws at random"),
    ("[{'name':'box','height':2,'width':2}]", "say --mask=FILE"),
    ("[{'name':'quantise'}]", "has no gradient"),
  ],
)
def test_a_degradation_that_cannot_be_searched_through_is_refused(text, said):
  with pytest.raises(ConfigError, match=said):
    degradation_of(text, SHAPE)


def test_what_does_not_go_together_is_said():
  assert degradation_of("[]", SHAPE) is None
  with pytest.raises(ConfigError, match="without a prior"):
    LatentSearch(prior_of(has_prior=False))
  with pytest.raises(ConfigError, match="use --penalty=0"):
    LatentSearch(prior_of(normal_latents=False), penalty=0.1)
  with pytest.raises(ConfigError, match="is given seen; a search needs"):
    LatentSearch(prior_of(given=("seen",)))
  search = LatentSearch(prior_of())
  with pytest.raises(ConfigError, match="draw it at their size"):
    search(np.zeros((1, *SHAPE), np.uint8), np.zeros((7, 8), bool))
  with pytest.raises(ConfigError, match="leaves nothing"):
    search(np.zeros((1, *SHAPE), np.uint8), np.ones((8, 8), bool))
  with pytest.raises(ConfigError, match="are no pictures of"):
    search(np.zeros((1, 4, 4, 1), np.uint8))
