"""The bound and its parts: where they are known, and against quadrature on a VAE."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from common.data.batches import EvalFeed
from common.evaluation.metrics.bound import Bound
from common.evaluation.metrics.estimate import paired_difference
from common.evaluation.metrics.importance import ImportanceNll
from common.evaluation.metrics.likelihood import Model
from experiments import build_algorithm
from tests.common.evaluation.metrics.linear_gaussian import (
  LinearGaussian,
  TwoLayers,
  batch_of,
  feed_of,
  mesh_of,
  model_of,
)
from tests.tiny import config_of, dataset_of, fresh_state

DATA = np.asarray(np.random.default_rng(1).normal(size=(600, 2, 2, 1)), np.float32)


def gaussian_kl(mean, covariance, other):
  """KL(N(0, covariance) || N(mean, other)) of matrices."""
  inverse = np.linalg.inv(other)
  log_dets = np.linalg.slogdet(other)[1] - np.linalg.slogdet(covariance)[1]
  return 0.5 * (np.trace(inverse @ covariance) - len(mean) + log_dets + mean @ inverse @ mean)


def test_the_parts_where_they_are_known():
  """Rate and distortion of each image in closed form; elbo = log p(x) - KL(q || posterior)."""
  model = LinearGaussian(wrong=1.0)
  found = Bound(samples=20)(model_of(model), feed_of(DATA))
  mean, covariance = jax.device_get(model.encode(batch_of(DATA)))
  rate = np.array([gaussian_kl(m, covariance, np.eye(2)) for m in mean])
  elbo = model.exact(DATA) - gaussian_kl(np.full(2, 0.3), covariance, model.posterior[0])
  for name, expected in {"rate": rate, "elbo": elbo, "distortion": -elbo - rate}.items():
    gap = paired_difference(found.per_image[name], expected)
    assert abs(gap.mean) < 3.5 * gap.standard_error < 0.2, name
    assert found.scores[name].value == pytest.approx(found.per_image[name].mean())
    assert found.scores[name].method == "600 images, 20 draws of z each"
  scores = found.scores
  np.testing.assert_allclose(scores["elbo"].value, -(scores["distortion"].value + scores["rate"].value), rtol=1e-6)
  np.testing.assert_allclose(scores["elbo"].standard_error, stats.sem(found.per_image["elbo"]), rtol=1e-5)


def test_more_draws_leave_less_noise():
  """Beside the true value of each image: the variance falls as 1 / draws."""
  exact = LinearGaussian().exact(DATA)
  model = LinearGaussian(wrong=1.0)
  spread = [np.var(Bound(samples=n)(model_of(model), feed_of(DATA)).per_image["elbo"] - exact) for n in (1, 16)]
  assert 10 < spread[0] / spread[1] < 25


def test_chunks_change_nothing():
  model = model_of(TwoLayers(wrong=1.0))
  first, second = (Bound(samples=3, chunk=chunk)(model, feed_of(DATA[:21])).per_image for chunk in (1, 12))
  for name, values in first.items():
    np.testing.assert_allclose(values, second[name], rtol=1e-5, atol=1e-5)


def test_each_layer_has_its_rate():
  found = Bound(samples=4)(model_of(TwoLayers(wrong=1.0)), feed_of(DATA))
  assert set(found.scores) == set(found.per_image) == {"elbo", "distortion", "rate", "rate_z1", "rate_z2"}
  parts = found.per_image["rate_z1"] + found.per_image["rate_z2"]
  np.testing.assert_allclose(found.per_image["rate"], parts, rtol=1e-5)
  gap = paired_difference(TwoLayers().exact(DATA), found.per_image["elbo"])
  assert gap.mean > 10 * gap.standard_error
  assert set(Bound()(model_of(LinearGaussian()), feed_of(DATA[:9])).scores) == {"elbo", "distortion", "rate"}


VARIANT = "vae:digits,gated,tiny"


@functools.cache
def vae():
  config, dataset = config_of(VARIANT), dataset_of(VARIANT)
  algorithm = build_algorithm(config, dataset.spec)
  model = Model(algorithm, jax.device_get(fresh_state(algorithm, VARIANT)), dataset.spec, config, mesh_of(1))
  return model, EvalFeed(dataset.validation, model.mesh, batch_size=97, resident_mb=100)


def test_the_rate_of_a_vae_by_quadrature():
  model, feed = vae()
  rate = Bound()(model, feed).per_image["rate"]
  x = jnp.asarray(next(iter(feed))["index"])
  images = jnp.asarray(dataset_of(VARIANT).validation.arrays()["image"], jnp.float32) / 255
  moments = jax.jit(model.algorithm.posterior_moments)(model.state, {"image": images, "index": jnp.arange(97)})
  assert len(x) == len(rate) == 97
  for image in (0, 50):
    parts = []
    for mean, log_var in zip(*(np.asarray(m[image], np.float64) for m in moments), strict=True):
      q = stats.norm(mean, np.exp(0.5 * log_var))
      integrand = lambda z, q=q: q.pdf(z) * (q.logpdf(z) - stats.norm.logpdf(z))  # noqa: E731
      parts.append(integrate.quad(integrand, mean - 9 * q.std(), mean + 9 * q.std())[0])
    np.testing.assert_allclose(rate[image], np.sum(parts), rtol=1e-5)


def test_one_importance_weight_is_a_noisier_bound():
  """Of the same expectation: other draws, and a rate in closed form against log q - log p."""
  model, feed = vae()
  gap = paired_difference(Bound()(model, feed).per_image["elbo"], -ImportanceNll(k=1)(model, feed).per_image["nll"])
  assert abs(gap.mean) < 4 * gap.standard_error


def test_programs_are_kept_for_other_states():
  model, feed = model_of(TwoLayers()), feed_of(DATA[:9])
  Bound()(model, feed)
  program = model.programs[Bound()]
  Bound()(dataclasses.replace(model, state=None), feed)
  assert model.programs == {Bound(): program}
  assert Bound(samples=2) not in model.programs
