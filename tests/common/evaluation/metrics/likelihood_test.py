"""Every likelihood metric on any devices and batches, and on a VAE; what the contract refuses."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from common.build import build
from common.data.batches import EvalFeed
from common.errors import ConfigError
from common.evaluation.metrics.annealed import AnnealedNll
from common.evaluation.metrics.bits_per_dim import BitsPerDim
from common.evaluation.metrics.bound import Bound
from common.evaluation.metrics.estimate import paired_difference
from common.evaluation.metrics.importance import ImportanceNll
from common.evaluation.metrics.latents import Latents
from common.evaluation.metrics.likelihood import Model, mean_score
from experiments import build_algorithm
from tests.common.evaluation.metrics.linear_gaussian import LinearGaussian, feed_of, mesh_of, model_of
from tests.tiny import config_of, dataset_of, fresh_state

DATA = np.asarray(np.random.default_rng(1).normal(size=(61, 2, 2, 1)), np.float32)
METRICS = (
  Bound(samples=3, chunk=10),
  ImportanceNll(k=7, chunk=14),
  AnnealedNll(images=20, chains=2, temperatures=8, leapfrog=3, chunk=12),
  Latents(samples=2, block=9),
)
KINDS = {type(metric).__name__: type(metric) for metric in (*METRICS, BitsPerDim())}


def assert_same(first, second):
  assert first.scores.keys() == second.scores.keys()
  for name, score in first.scores.items():
    assert score.value == pytest.approx(second.scores[name].value, rel=1e-5, abs=1e-6)
    assert score.standard_error == pytest.approx(second.scores[name].standard_error, rel=1e-3, abs=1e-6)
    assert score.method == second.scores[name].method
  for kind in ("per_image", "arrays"):
    ours, theirs = getattr(first, kind), getattr(second, kind)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
      np.testing.assert_allclose(values, theirs[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: type(metric).__name__)
def test_devices_and_batches_change_nothing(metric):
  """Batches of 50 with a rest of 11; of 16 on 8 devices; and of 30, of rows that are read, in other chunks."""
  model = LinearGaussian(wrong=1.0)
  expected = metric(model_of(model), feed_of(DATA))
  assert_same(metric(model_of(model, 8), feed_of(DATA, 8, batch_size=16)), expected)
  other = dataclasses.replace(metric, **({"block": 100} if isinstance(metric, Latents) else {"chunk": 1}))
  assert_same(other(model_of(model), feed_of(DATA, batch_size=30, resident_mb=0)), expected)


def test_another_seed_gives_other_draws_within_the_error():
  model = model_of(LinearGaussian(wrong=1.0))
  reseeded = dataclasses.replace(model, config=model.config.copy_and_resolve_references(), programs={})
  reseeded.config.seed = 6
  first, second = (METRICS[0](either, feed_of(DATA)) for either in (model, reseeded))
  gap = paired_difference(first.per_image["distortion"], second.per_image["distortion"])
  assert gap.standard_error > 0.01 and abs(gap.mean) < 4 * gap.standard_error


VARIANT = "vae:digits,gated,tiny"


@functools.cache
def vae():
  """Of three latents, so that few draws reach log p(x)."""
  config, dataset = config_of(VARIANT), dataset_of(VARIANT)
  config.model.z_dim = 3
  algorithm = build_algorithm(config, dataset.spec)
  model = Model(algorithm, jax.device_get(fresh_state(algorithm, VARIANT)), dataset.spec, config, mesh_of(1))
  return model, EvalFeed(dataset.validation, model.mesh, batch_size=97, resident_mb=100)


def test_two_ways_to_log_p_of_a_vae_agree():
  """From the prior without the encoder, and from the encoder."""
  model, feed = vae()
  annealed = AnnealedNll(images=10, chains=8, temperatures=400, leapfrog=3)(model, feed)
  importance = ImportanceNll(k=2000)(model, feed)
  gap = annealed.per_image["ais_nll"] - importance.per_image["nll"][:10]
  assert np.abs(gap).max() < 1 and abs(gap.mean()) < 3 * gap.std(ddof=1) / np.sqrt(10) + 0.02
  bound = Bound()(model, feed)
  assert bound.per_image["elbo"][:10].mean() < -importance.per_image["nll"][:10].mean() - 0.5


def test_the_latents_of_a_vae():
  """The rate's two parts against its closed form, which the bound has."""
  model, feed = vae()
  found, bound = Latents(samples=8)(model, feed), Bound()(model, feed)
  parts = found.per_image["mutual_information"] + found.per_image["marginal_kl"]
  gap = parts - bound.per_image["rate"]
  assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(97)
  assert found.arrays["kl_per_dimension"].shape == (model.config.model.z_dim,)
  assert found.arrays["kl_per_dimension"].sum() == pytest.approx(bound.scores["rate"].value, rel=1e-5)


def test_a_model_without_latent_variables_is_refused():
  variant = "gan:digits,tiny"
  config, spec = config_of(variant), dataset_of(variant).spec
  with pytest.raises(ConfigError, match="need a model with latent variables and a posterior, as a VAE; not a GAN"):
    Model(build_algorithm(config, spec), None, spec, config, mesh_of(1))


@pytest.mark.parametrize("name", KINDS)
def test_settings_are_checked_as_sections(name):
  metric = build(KINDS, {"name": name}, "evaluate.metrics")
  assert metric == KINDS[name]() and hash(metric) == hash(KINDS[name]())
  assert metric.better and set(metric.better.values()) <= {"min", "max", ""}
  with pytest.raises(ConfigError, match="better is unknown"):
    build(KINDS, {"name": name, "better": {}}, "evaluate.metrics")
  field = dataclasses.fields(metric)[0].name
  with pytest.raises(ConfigError, match=f"{field}='many' must be"):
    build(KINDS, {"name": name, field: "many"}, "evaluate.metrics")


@pytest.mark.parametrize(
  ("metric", "field", "value"),
  [
    (Bound, "samples", 0),
    (ImportanceNll, "k", 0),
    (BitsPerDim, "chunk", 0),
    (AnnealedNll, "pilots", 0),
    (AnnealedNll, "images", 1),
    (Latents, "block", 0),
    (Latents, "threshold", -1.0),
  ],
)
def test_settings_without_meaning_are_refused(metric, field, value):
  with pytest.raises(ConfigError, match=f"^{field}={value}"):
    metric(**{field: value})


def test_values_that_are_not_finite_are_an_error():
  with pytest.raises(ValueError, match="1 of 3 values are not finite"):
    mean_score(np.array([1.0, np.nan, 2.0]), "")
