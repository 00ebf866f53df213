"""Annealed importance sampling on linear Gaussian models, where log p(x) is known."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from common import random
from common.evaluation.metrics import annealed
from common.evaluation.metrics.annealed import AnnealedNll, annealed_log_weights, sigmoid_schedule
from common.evaluation.metrics.importance import ImportanceNll
from tests.common.evaluation.metrics.linear_gaussian import (
  IMAGES,
  LinearGaussian,
  TwoLayers,
  batch_of,
  feed_of,
  model_of,
  repeated,
)

KEY = jax.random.key(4)


def run(model, images, **settings):
  """Log-weights [chains, N] and acceptance [N]."""
  settings = {"chains": 1, "temperatures": 10, "leapfrog": 3, "pilots": 2, **settings}
  compiled = jax.jit(functools.partial(annealed_log_weights, model, None, **settings))
  found = compiled(batch_of(images), KEY)
  return [np.asarray(values, np.float64) for values in found]


@pytest.mark.parametrize("temperatures", [1, 2, 50])
def test_temperatures_rise_from_0_to_1_and_lie_dense_at_both_ends(temperatures):
  betas = sigmoid_schedule(temperatures)
  assert len(betas) == temperatures + 1 and betas[0] == 0 and betas[-1] == 1
  np.testing.assert_allclose(betas + betas[::-1], 1.0, atol=1e-12)
  steps = np.diff(betas)
  assert np.all(steps > 0)
  if temperatures == 50:
    # The slope of a sigmoid at 0 and at 4: 1/4 and s(4) (1 - s(4)).
    np.testing.assert_allclose(steps.max() / steps.min(), 0.25 / 0.01766, rtol=0.1)


def test_one_temperature_is_importance_sampling_from_the_prior():
  model = LinearGaussian()
  log_weights, acceptance = run(model, IMAGES, temperatures=1, chains=3)
  key = jax.random.fold_in(random.stream(KEY, "chain"), 2)
  z = model.prior_sample(None, key, jnp.arange(7))
  expected = model.log_likelihood(None, batch_of(), jax.tree.map(lambda a: a[None], z))[0]
  np.testing.assert_allclose(log_weights[2], expected, rtol=1e-5)
  assert np.all(acceptance == 0)  # there was no transition


@pytest.mark.parametrize("model", [LinearGaussian(noise=0.4), TwoLayers(noise=0.4)], ids=["one layer", "two layers"])
@pytest.mark.parametrize("temperatures", [4, 40])
def test_weights_have_the_expectation_p_of_x(model, temperatures):
  """At few temperatures and with steps that are still being found: exact all the same."""
  log_weights, acceptance = run(model, repeated(8000), temperatures=temperatures)
  ratio = np.exp(log_weights[0] - model.exact()[0])
  error = ratio.std() / np.sqrt(len(ratio))
  assert abs(ratio.mean() - 1) < 4 * error < 0.2
  if temperatures == 40:
    assert error < 0.02 and np.all(acceptance > 0.2)
  # Jensen: the logarithm is below, and clearly so at few temperatures.
  gap = log_weights[0] - model.exact()[0]
  assert gap.mean() < -4 * gap.std() / np.sqrt(len(gap))


def test_more_temperatures_and_chains_close_the_gap():
  model = LinearGaussian(noise=0.4)
  gaps = [np.mean(run(model, repeated(300), temperatures=t)[0] - model.exact()[0]) for t in (5, 50, 500)]
  assert gaps[0] < gaps[1] - 1 < gaps[2] - 1.2
  assert -0.3 < gaps[2] < 0
  log_weights, _ = run(model, repeated(300), temperatures=50, chains=10)
  assert gaps[1] + 0.1 < np.mean(logsumexp(log_weights, axis=0) - np.log(10) - model.exact()[0]) < 0.02


def test_right_where_a_wrong_encoder_leaves_importance_sampling_wrong():
  """q lies 2.7 beside the posterior, whose deviations are 0.1 and 0.2: of 50 draws none comes near it."""
  model = LinearGaussian(wrong=-9.0, noise=0.2)
  images = np.asarray(np.random.default_rng(1).normal(size=(60, 2, 2, 1)), np.float32)
  exact = -model.exact(images)
  metric = AnnealedNll(images=60, chains=8, temperatures=1500, leapfrog=5, chunk=720)
  found = metric(model_of(model), feed_of(images))
  gap = found.per_image["ais_nll"] - exact
  assert abs(gap.mean()) < 3 * gap.std(ddof=1) / np.sqrt(60) + 0.02 < 0.1
  assert found.scores["ais_nll"].value == pytest.approx(exact.mean(), abs=0.1)
  assert found.scores["ais_nll"].method == "60 images, 8 chains, 1500 temperatures, 5 leapfrog steps"
  np.testing.assert_allclose(found.scores["ais_nll"].standard_error, exact.std(ddof=1) / np.sqrt(60), rtol=0.02)
  assert np.all(np.abs(found.arrays["acceptance"] - annealed.ACCEPTANCE) < 0.15)
  assert np.all(found.arrays["effective_chains"] > 3)
  importance = ImportanceNll(k=50)(model_of(model), feed_of(images)).scores["nll"]
  assert importance.value > exact.mean() + 100


def test_a_chain_depends_on_its_number_and_its_image_only():
  model = LinearGaussian()
  many, _ = run(model, IMAGES, chains=4)
  few, _ = run(model, IMAGES[:3], chains=2)
  np.testing.assert_allclose(few, many[:2, :3], rtol=1e-4)
  assert len(np.unique(many)) == 28


def test_a_step_that_leaves_the_range_of_floats_is_refused(monkeypatch):
  monkeypatch.setattr(annealed, "FIRST_STEP", 1e30)
  log_weights, acceptance = run(LinearGaussian(), IMAGES)
  assert np.all(np.isfinite(log_weights)) and np.all(acceptance == 0)


def test_the_pilots_find_the_step(monkeypatch):
  """From a step far too small and far too large to the same acceptance."""
  for first in (0.01, 10.0):
    monkeypatch.setattr(annealed, "FIRST_STEP", first)
    _, acceptance = run(LinearGaussian(noise=0.4), repeated(50), temperatures=600, pilots=4)
    assert abs(acceptance.mean() - annealed.ACCEPTANCE) < 0.1


@pytest.mark.parametrize(("devices", "chunk", "sizes"), [(1, 40, [10, 10, 10]), (1, 1, [1] * 25), (8, 500, [32])])
def test_batches_hold_as_many_chains_as_the_chunk_allows(devices, chunk, sizes):
  images = np.asarray(np.random.default_rng(1).normal(size=(30, 2, 2, 1)), np.float32)
  metric = AnnealedNll(images=25, chains=3, pilots=1, chunk=chunk)
  batches = list(metric.batches(model_of(LinearGaussian(), devices), feed_of(images, devices, batch_size=16)))
  assert [len(batch["index"]) for batch in batches] == sizes
  index = np.concatenate([batch["index"] for batch in batches])
  mask = np.concatenate([batch["mask"] for batch in batches])
  np.testing.assert_array_equal(index[mask > 0], np.arange(25))


def test_memory_does_not_grow_with_temperatures():
  def largest(temperatures):
    function = functools.partial(annealed_log_weights, LinearGaussian(), None, leapfrog=3, pilots=2)
    settings = {"chains": 8, "temperatures": temperatures}
    lowered = jax.jit(functools.partial(function, **settings)).lower(batch_of(), KEY)
    shapes = re.findall(r"tensor<((?:[0-9]+x)+)f32>", lowered.as_text())
    return max(np.prod([int(n) for n in shape.split("x")[:-1]]) for shape in shapes)

  assert largest(5) == largest(35) == 10 * 7 * 4  # chains and pilots, images, pixels
