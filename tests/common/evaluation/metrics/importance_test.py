"""log p(x) by importance sampling, on a linear Gaussian model where it is known, and on a VAE."""

import dataclasses
import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from common import random
from common.data.batches import EvalFeed
from common.errors import ConfigError
from common.evaluation.metrics.annealed import AnnealedNll
from common.evaluation.metrics.bits_per_dim import BitsPerDim
from common.evaluation.metrics.estimate import paired_difference
from common.evaluation.metrics.importance import ImportanceNll, log_likelihood
from common.evaluation.metrics.likelihood import Model, no_density
from common.evaluation.validation import Evaluator
from common.parallel import make_mesh
from experiments import build_algorithm
from tests.common.evaluation.metrics.linear_gaussian import (
  IMAGES,
  LinearGaussian,
  batch_of,
  feed_of,
  model_of,
  repeated,
)
from tests.tiny import config_of, dataset_of, fresh_state

EXACT = LinearGaussian().exact()


def run(wrong, x, index, k, chunk=500):
  compiled = jax.jit(
    lambda batch: log_likelihood(LinearGaussian(wrong), None, batch, jax.random.key(3), k=k, chunk=chunk),
  )
  return np.asarray(compiled({"image": jnp.asarray(x), "index": jnp.asarray(index)}), np.float64)


def indexed(count):
  return repeated(count), np.arange(count)


@pytest.mark.parametrize("k", [1, 13])
def test_with_the_true_posterior_every_draw_gives_log_p_exactly(k):
  np.testing.assert_allclose(run(0.0, IMAGES, np.arange(7), k, chunk=5), EXACT, rtol=1e-4, atol=1e-4)


def test_one_draw_gives_the_elbo_on_average():
  """ELBO = log p(x) - KL(q || posterior), both Gaussian."""
  values = run(1.0, *indexed(5000), k=1)
  mean_gap = np.full(2, 0.3)
  trace, log_det = 2 * 1.5, 2 * np.log(1.5)
  kl = 0.5 * (trace - 2 - log_det + mean_gap @ np.linalg.inv(LinearGaussian().posterior[0]) @ mean_gap)
  assert kl > 0.2
  assert abs(values.mean() - (EXACT[0] - kl)) < 4 * values.std() / np.sqrt(len(values))


@pytest.mark.parametrize("k", [1, 10, 1000])
def test_the_weights_are_unbiased_and_many_reach_log_p(k):
  values = run(1.0, *indexed(500), k=k)
  ratio = np.exp(values - EXACT[0])
  error = ratio.std() / np.sqrt(len(ratio))
  assert abs(ratio.mean() - 1) < 4 * error
  if k == 1000:
    assert error < 5e-3 and abs(values.mean() - EXACT[0]) < 0.01


def test_the_gain_of_more_draws_beyond_its_error():
  """Paired: the same images, and draws that contain the fewer."""
  images = np.asarray(np.random.default_rng(1).normal(size=(500, 2, 2, 1)), np.float32)
  values = [run(1.0, images, np.arange(500), k) for k in (1, 5, 50)]
  for few, more in itertools.pairwise(values):
    gain = paired_difference(more, few)
    assert gain.mean > 4 * gain.standard_error
  last = paired_difference(LinearGaussian().exact(images), values[-1])
  assert -3 * last.standard_error < last.mean < 0.05


@functools.cache
def log_weights(count):
  """[count, 7], at once."""
  model = LinearGaussian(1.0)
  z, log_q = model.posterior_sample(None, batch_of(), jax.random.key(3), count)
  log_joint = model.log_likelihood(None, batch_of(), z) + model.log_prior(None, batch_of(), z)
  return np.asarray(log_joint - log_q, np.float64)


@pytest.mark.parametrize(("chunk", "part"), [(8, slice(4, 6)), (37, slice(7)), (100, slice(7)), (10_000, slice(7))])
def test_neither_chunks_nor_batches_change_the_draws(chunk, part):
  """k = 37: in 5 passes (the last of them partly filled) and in 1, then 2 and 7 images a pass."""
  expected = logsumexp(log_weights(40)[:37], axis=0) - np.log(37)
  np.testing.assert_allclose(run(1.0, IMAGES[part], np.arange(7)[part], 37, chunk), expected[part], rtol=1e-5)


def test_log_weights_far_below_the_range_of_floats():
  """e^-1000 is 0 in float32; the bound is of sums of logarithms."""

  class Far(LinearGaussian):
    def log_likelihood(self, state, batch, z):
      return super().log_likelihood(state, batch, z) - 1000.0

  actual = jax.jit(lambda batch: log_likelihood(Far(0.0), None, batch, jax.random.key(0), k=20, chunk=6))(batch_of())
  np.testing.assert_allclose(actual, EXACT - 1000.0, rtol=1e-5)


VARIANT = "vae:digits,gated,tiny"


@functools.cache
def vae():
  config, dataset = config_of(VARIANT), dataset_of(VARIANT)
  algorithm = build_algorithm(config, dataset.spec)
  return config, dataset, algorithm, jax.device_get(fresh_state(algorithm, VARIANT))


def on(devices, batch_size, k):
  config, dataset, algorithm, state = vae()
  mesh = make_mesh(devices)
  feed = EvalFeed(dataset.validation, mesh, batch_size=batch_size, resident_mb=100)
  return -ImportanceNll(k=k, chunk=5)(Model(algorithm, state, dataset.spec, config, mesh), feed).per_image["nll"]


def test_a_split_on_one_and_on_eight_devices_in_its_order():
  config, dataset, algorithm, state = vae()
  x = jnp.asarray(dataset.validation.arrays()["image"], jnp.float32) / 255
  rng = random.stream(random.stream(jax.random.key(config.seed), "evaluate"), "importance")
  direct = jax.jit(lambda batch: log_likelihood(algorithm, state, batch, rng, k=7))(batch_of(x))
  np.testing.assert_allclose(on(1, 40, 7), direct, rtol=1e-5)
  np.testing.assert_allclose(on(8, 48, 7), direct, rtol=1e-5)


def test_one_draw_of_a_vae_agrees_with_its_evaluation():
  """Other draws, and a closed-form rate: equal within their errors."""
  config, dataset, algorithm, state = vae()
  evaluator = Evaluator(algorithm, dataset.spec, config, make_mesh(1))
  elbo = evaluator(state, evaluator.feed(dataset.validation))["elbo"]
  one, many = on(1, 97, 1), on(1, 97, 100)
  assert abs(one.mean() - elbo) < 4 * np.std(one - many) * np.sqrt(2 / 97)
  assert many.mean() > elbo


def test_memory_is_bounded_by_the_chunk():
  """The largest array: the decoded images of a chunk, or all draws of z of an image."""

  def largest(k, chunk):
    model = LinearGaussian()
    function = lambda batch: log_likelihood(model, None, batch, jax.random.key(0), k=k, chunk=chunk)  # noqa: E731
    shapes = re.findall(r"tensor<((?:[0-9]+x)+)f32>", jax.jit(function).lower(batch_of()).as_text())
    return max(np.prod([int(n) for n in shape.split("x")[:-1]]) for shape in shapes)

  pixels, z_dim = 4, 2
  assert largest(k=400, chunk=400) == 400 * pixels
  assert largest(k=400, chunk=40) == 400 * z_dim
  assert largest(k=10, chunk=50) == 50 * pixels


def test_the_metric_is_within_its_error_of_the_truth():
  """Noise in the weights adds to that of the images; the paired gap has the noise alone, and its bias is below that."""
  images = np.asarray(np.random.default_rng(1).normal(size=(400, 2, 2, 1)), np.float32)
  found = ImportanceNll(k=500)(model_of(LinearGaussian(1.0)), feed_of(images))
  exact = -LinearGaussian().exact(images)
  score, gap = found.scores["nll"], found.per_image["nll"] - exact
  assert abs(gap.mean()) < 3 * gap.std() / np.sqrt(400) < 0.01
  assert abs(score.value - exact.mean()) < 0.01 and score.method == "400 images, k=500"
  np.testing.assert_allclose(score.standard_error, exact.std(ddof=1) / 20, rtol=0.02)


@pytest.mark.parametrize("metric", [ImportanceNll(k=2), AnnealedNll(images=2)], ids=["nll", "ais"])
@pytest.mark.parametrize(
  ("name", "binarize", "reason"),
  [
    ("bernoulli", "none", "is a cross-entropy"),
    ("bernoulli", "dynamic", ""),
    ("gaussian", "none", ""),
  ],
)
def test_what_is_no_density_has_no_log_likelihood(metric, name, binarize, reason):
  model = model_of(LinearGaussian())
  config = model.config.copy_and_resolve_references()
  config.likelihood.name, config.data.binarize = name, binarize
  assert (reason in no_density(config)) and bool(no_density(config)) == bool(reason)
  if reason:
    with pytest.raises(ConfigError, match=f'config.likelihood.name="{name}" .*{reason}.*--metrics=bound'):
      metric(dataclasses.replace(model, config=config), feed_of(IMAGES))


@pytest.mark.parametrize(
  ("metric", "name"),
  [(ImportanceNll(k=2), "nll"), (AnnealedNll(images=2), "ais"), (BitsPerDim(k=2), "nll")],
  ids=["nll", "ais", "bits_per_dim"],
)
def test_codes_have_no_log_likelihood_by_draws(metric, name):
  """On such a model annealed chains leave the codebook, and were above the exact log p(x) by up to 3 nats."""
  model = model_of(LinearGaussian())
  config = model.config.copy_and_resolve_references()
  config.posterior.name, config.data.binarize, config.data.name = "vector_quantized", "dynamic", "toy"
  config.likelihood.name = "bernoulli"
  images = dataclasses.replace(model.spec, kind="images")
  with pytest.raises(ConfigError, match=f'^{name}: config.posterior.name="vector_quantized" .* take --metrics=bound'):
    metric(dataclasses.replace(model, config=config, spec=images), feed_of(IMAGES))
