"""Truncated latents, and other BatchNorm statistics than the running ones; rows and batches: tests/parallel_test.py."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from common import random
from common.data.batches import EvalFeed, evaluation_batch
from common.errors import ConfigError
from common.evaluation.sampling import STANDING_BATCHES, Sampler, examples_of
from common.parallel import make_mesh
from experiments import build_algorithm
from tests.tiny import config_of, dataset_of, fresh_state

GAN = "lucic2018:digits,tiny"  # BatchNorm in G, latents from U[-1, 1)


@functools.cache
def untrained(variant):
  algorithm = build_algorithm(config_of(variant), dataset_of(variant).spec)
  return algorithm, fresh_state(algorithm, variant)


def sampler(variant=GAN, **ways):
  algorithm, state = untrained(variant)
  return algorithm, state, Sampler(algorithm, dataset_of(variant).spec, make_mesh(1), batch_size=16, **ways)


def test_labels_are_drawn_from_those_that_occur_in_training():
  algorithm, _ = untrained(GAN)
  gaps = dataclasses.replace(dataset_of(GAN).spec, num_classes=11, classes=(1, 3, 10))
  labels = Sampler(algorithm, gaps, make_mesh(1)).labels(0, np.arange(300))
  assert labels.dtype == np.int32 and np.bincount(labels)[[1, 3, 10]].min() > 80
  assert np.bincount(labels).sum() == np.bincount(labels)[[1, 3, 10]].sum()


class Copies:
  """A model that returns what it is given."""

  given, has_prior, normal_latents = ("label", "seen"), True, False

  def prior_sample(self, state, rng, index, given=None):
    return jnp.zeros((len(index), 0))

  def decode(self, state, z, given, *, ema):
    return given["seen"] + given["label"][:, None]


def test_pictures_are_given_rows_of_the_examples_of_their_number():
  """In every batch, and beside labels that are drawn; who has no examples must state the rows."""
  spec = dataset_of(GAN).spec
  seen = np.arange(40, dtype=np.float32)[:, None] * 100
  copies = Sampler(Copies(), spec, make_mesh(1), batch_size=16, examples=lambda index: {"seen": seen[index % 40]})
  labels = copies.labels(5, np.arange(37))
  np.testing.assert_array_equal(copies((), 5, 37), seen[:37] + labels[:, None])
  some = np.asarray([3, 36, 5, *range(20)])
  np.testing.assert_array_equal(copies((), 5, some), seen[some] + labels[some, None])
  own = {"label": np.full(3, 7, np.int32), "seen": seen[[9, 4, 9]]}
  np.testing.assert_array_equal(copies((), 5, 3, own), seen[[9, 4, 9]] + 7)
  with pytest.raises(ConfigError, match="this model is given label, seen, which is not drawn"):
    Sampler(Copies(), spec, make_mesh(1)).given(0, np.arange(2))


def test_examples_are_those_of_evaluation():
  """With the same noise at whatever place in a batch; after the last one the first comes again."""
  config, dataset = config_of(GAN, data__dequantize=True), dataset_of(GAN)
  feed = EvalFeed(dataset.validation, make_mesh(1), batch_size=97, resident_mb=0)
  batch, _ = evaluation_batch(feed.data, next(iter(feed)), dataset.spec, config)
  found = examples_of(dataset.validation, dataset.spec, config, ("image",))(np.array([3, 96, 97 + 3]))
  assert list(found) == ["image"]
  np.testing.assert_allclose(found["image"], batch["image"][jnp.array([3, 96, 3])], atol=1e-6)


@pytest.mark.parametrize("bound", [0.5, 2.0])
def test_truncated_draws_follow_the_truncated_normal(bound):
  z = random.normal(random.row_keys(jax.random.key(0), jnp.arange(2000)), (5,))
  cut = np.asarray(random.truncated(z, bound))
  assert np.abs(cut).max() <= bound and np.all((cut > 0) == (z > 0))
  assert stats.kstest(cut.ravel(), stats.truncnorm(-bound, bound).cdf).pvalue > 0.01
  expected = stats.truncnorm(-bound, bound).ppf(stats.norm.cdf(np.asarray(z, np.float64)))
  np.testing.assert_allclose(cut, expected, atol=2e-5)


def test_a_wide_bound_leaves_draws_as_they_are():
  z = jnp.linspace(-3.0, 3.0, 13)
  np.testing.assert_allclose(random.truncated(z, 9.0), z, atol=2e-4)


def test_truncation_reaches_the_pictures_and_the_protocol():
  _, state, cut = sampler("vae:digits,tiny", truncation=0.1)
  z = cut.latents(state, 0, np.arange(3))
  assert 0.05 < max(np.abs(leaf).max() for leaf in jax.tree.leaves(z)) <= 0.1
  np.testing.assert_array_equal(cut(state, 0, 3), cut.decode(state, z, None))
  assert cut.protocol["truncation"] == 0.1
  assert sampler()[2].protocol == {"batch_norm": "running", "truncation": "none", "sampler": "prior"}


def test_standing_statistics_are_the_mean_over_batches():
  gan, state, standing = sampler(batch_norm="standing")
  g = state.generator

  @jax.jit
  def moments(index):
    z = gan.prior_sample(state, random.stream(jax.random.key(0), "standing"), index)
    return gan.generator.module.apply(g.variables(), z, train=True, mutable=["moments"])[1]["moments"]

  found = [moments(jnp.arange(16) + 16 * i) for i in range(STANDING_BATCHES)]
  mean = jax.tree.map(lambda *x: np.mean(np.stack(x, dtype=np.float64), 0).astype(np.float32), *found)
  assert jax.tree.structure(mean) == jax.tree.structure(g.mutable["batch_stats"])
  z = standing.latents(state, 5, np.arange(4))
  expected = gan.generator.module.apply({"params": g.params, "batch_stats": mean}, z, train=False)
  np.testing.assert_allclose(standing(state, 5, 4), expected, atol=1e-5)
  np.testing.assert_allclose(standing.decode(state, z, None), expected, atol=1e-5)


@pytest.mark.parametrize(
  ("variant", "way", "message"),
  [
    (GAN, {"truncation": 0.5}, r"truncation=0\.5 is for latents from N\(0, I\)"),
    (GAN, {"truncation": -0.5}, r"truncation=-0\.5 must be above 0"),
    (GAN, {"batch_norm": "standin"}, '--batch_norm="standin" is not one of running, standing; did you mean'),
  ],
)
def test_a_way_that_the_model_lacks_is_refused(variant, way, message):
  with pytest.raises(ConfigError, match=message):
    sampler(variant, **way)


@pytest.mark.parametrize(
  ("variant", "message"),
  [("gan:digits,tiny", "has no BatchNorm"), ("vae:digits,tiny", "for generators with BatchNorm")],
)
def test_statistics_need_a_batch_norm(variant, message):
  with pytest.raises(ConfigError, match=message):
    _, state, standing = sampler(variant, batch_norm="standing")
    standing(state, 0, 4)
