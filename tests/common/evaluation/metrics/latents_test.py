"""Latents: planted encoders whose aggregate posterior is known, and a mixture by brute force."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import logsumexp

from common import random
from common.errors import ConfigError
from common.evaluation.metrics.latents import (
  Latents,
  Mixture,
  active_units,
  activity,
  aggregate_moments,
  aggregate_scores,
  kl_per_dimension,
  log_mixture,
)
from tests.common.evaluation.metrics.linear_gaussian import (
  IMAGES,
  WEIGHTS,
  LinearGaussian,
  TwoLayers,
  feed_of,
  mesh_of,
  model_of,
)

RNG = np.random.default_rng(0)
MEAN, LOG_VAR = RNG.normal(size=(11, 3)).astype(np.float32), RNG.normal(size=(11, 3)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Planted(LinearGaussian):
  """q(z|x) = N(scale x + shift, diag variance) of images with two pixels, p(z) = N(0, I)."""

  scale: tuple[float, float] = (0.8, 0.05)
  shift: tuple[float, float] = (0.0, 0.0)
  variance: tuple[float, float] = (0.36, 0.9975)

  def posterior_moments(self, state, batch):
    mean = batch["image"].reshape(-1, 2) * jnp.array(self.scale) + jnp.array(self.shift)
    return mean, jnp.broadcast_to(jnp.log(jnp.array(self.variance)), mean.shape)

  def posterior_sample(self, state, batch, rng, k):
    mean, log_var = self.posterior_moments(state, batch)

    def draw(i):
      noise = random.normal(random.row_keys(jax.random.fold_in(rng, i), batch["index"]), (2,))
      log_q = -0.5 * jnp.sum(noise**2 + log_var + np.log(2 * np.pi), -1)
      return (mean + jnp.exp(0.5 * log_var) * noise,), log_q

    return jax.vmap(draw)(jnp.arange(k))


# Two independent standard normal pixels by their quantiles: moments of the set are those of the distribution.
QUANTILES = stats.norm.ppf((np.arange(40) + 0.5) / 40)
QUANTILES /= QUANTILES.std()
GRID = np.stack(np.meshgrid(QUANTILES, QUANTILES), -1).reshape(1600, 1, 1, 2).astype(np.float32)


def run(model, images=GRID, devices=1, **settings):
  return Latents(**settings)(model_of(model, devices), feed_of(images, devices))


@pytest.mark.parametrize("block", [1, 4, 11, 50])
def test_the_mixture_by_a_double_loop(block):
  z = RNG.normal(size=(5, 3)).astype(np.float32)
  each = [[stats.norm.logpdf(p, m, np.exp(0.5 * v)).sum() for m, v in zip(MEAN, LOG_VAR, strict=True)] for p in z]
  expected = logsumexp(each, axis=1) - np.log(11)
  found = jax.jit(lambda z: log_mixture(z, MEAN, LOG_VAR, block=block))(z)
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  if block == 4:
    for devices in (1, 8):  # batches of 4 and of 32, both with padding
      np.testing.assert_allclose(Mixture(mesh_of(devices), block)(z, MEAN, LOG_VAR), expected, rtol=1e-5)


def test_the_mixture_of_narrow_posteriors():
  """Means of hundreds of deviations: a density by products of matrices is off by several nats in float32."""
  mean = (RNG.normal(size=(50, 8)) * 2).astype(np.float32)
  log_var = np.full((50, 8), -12.0, np.float32)
  z = (mean + np.exp(-6.0) * RNG.normal(size=mean.shape)).astype(np.float32)
  expected = stats.norm.logpdf(np.float64(z), np.float64(mean), np.exp(-6.0)).sum(1) - np.log(50)
  np.testing.assert_allclose(log_mixture(z, mean, log_var, block=20), expected, rtol=1e-5)


def test_the_mixture_keeps_a_block_at_a_time():
  function = lambda z: log_mixture(z, jnp.zeros((3000, 3)), jnp.zeros((3000, 3)), block=50)  # noqa: E731
  shapes = re.findall(r"tensor<((?:[0-9]+x)+)f32>", jax.jit(function).lower(jnp.zeros((100, 3))).as_text())
  # The differences, [100, 50, 3], which are summed as they come; of 3,000 at once they would be 60 times as many.
  assert max(np.prod([int(n) for n in shape.split("x")[:-1]]) for shape in shapes) == 100 * 50 * 3


def test_the_split_of_the_rate_in_closed_form():
  """Each latent's aggregate is N(shift, scale^2 + variance), so both parts are known."""
  model = Planted(scale=(1.2, 0.4), shift=(0.5, 0.0), variance=(0.5, 0.9))
  found = run(model, samples=4)
  scale, shift, variance = (np.array(values) for values in (model.scale, model.shift, model.variance))
  total = scale**2 + variance
  mutual_information = 0.5 * np.log(total / variance).sum()
  marginal_kl = 0.5 * (total + shift**2 - 1 - np.log(total)).sum()
  assert mutual_information > 0.5 and marginal_kl > 0.25
  for name, expected in {"mutual_information": mutual_information, "marginal_kl": marginal_kl}.items():
    score = found.scores[name]
    assert abs(score.value - expected) < 3.5 * score.standard_error < 0.1, name
    assert found.per_image[name].shape == (1600,)
  assert found.scores["mutual_information"].method == (
    "1600 images, 4 draws each, q(z) of all 1600 (own one included), at most 7.38"
  )
  rate = found.arrays["kl_per_dimension"].sum()
  np.testing.assert_allclose(rate, mutual_information + marginal_kl, rtol=1e-5)
  both = found.scores["mutual_information"].value + found.scores["marginal_kl"].value
  assert both == pytest.approx(rate, abs=0.05)


def test_the_aggregate_of_the_true_model_is_its_prior():
  """x drawn from a model and encoded by its exact posterior: q(z) = p(z), and the rate is all information."""
  z = RNG.normal(size=(3000, 2))
  model = LinearGaussian(noise=1.0)
  x = z @ WEIGHTS.T + RNG.normal(size=(3000, 4))
  found = run(model, x.reshape(-1, 2, 2, 1).astype(np.float32)).scores
  variance = np.diag(model.posterior[0])
  assert found["mutual_information"].value == pytest.approx(-0.5 * np.log(variance).sum(), abs=0.06)
  assert abs(found["marginal_kl"].value) < 0.02
  assert found["aggregate_mean_norm"].value < 3 * np.sqrt(2 / 3000)
  assert found["aggregate_covariance_error"].value < 0.1
  assert found["active_units"].value == 2


def test_sharp_posteriors_tell_every_image_apart():
  """Mutual information of log N, at its limit, whatever the images."""
  found = run(Planted(scale=(50.0, 50.0), variance=(1e-3, 1e-3)), GRID[::16])
  assert found.scores["mutual_information"].value == pytest.approx(np.log(100), rel=1e-4)
  assert found.scores["mutual_information"].method.endswith("at most 4.61")


def test_an_encoder_that_says_nothing():
  found = run(Planted(scale=(0.0, 0.0), variance=(1.0, 1.0)), samples=2)
  assert found.scores["mutual_information"].value == pytest.approx(0.0, abs=1e-5)
  assert found.scores["marginal_kl"].value == pytest.approx(0.0, abs=1e-5)
  assert found.scores["active_units"].value == 0 and found.scores["aggregate_covariance_error"].value < 1e-5


def test_active_units_follow_the_threshold():
  """Var E[z|x] is 0.64 and 0.0025."""
  for threshold, count in ((0.01, 1), (0.001, 2), (0.7, 0)):
    score = run(Planted(), threshold=threshold).scores["active_units"]
    assert (score.value, score.standard_error) == (count, 0.0)
    assert score.method == f"Var E[z|x] > {threshold:g}, 1600 images, bootstrap of 200"
  np.testing.assert_allclose(run(Planted()).arrays["activity"], [0.64, 0.0025], rtol=1e-3)


def test_a_unit_at_the_threshold_is_uncertain():
  """Above it in about half of all sets of images: a deviation of 1/2."""
  mean = RNG.normal(size=(500, 1)) * np.array([[1.0, 0.1]])
  mean[:, 1] *= 0.1 / mean[:, 1].std()
  assert active_units(mean, 0.01, seed=0).standard_error == pytest.approx(0.5, abs=0.05)
  np.testing.assert_allclose(activity(mean), np.cov(mean.T).diagonal())


def test_kl_per_dimension_by_quadrature():
  expected = np.zeros(3)
  for mean, log_var in zip(MEAN, LOG_VAR, strict=True):
    for d in range(3):
      q = stats.norm(mean[d], np.exp(0.5 * log_var[d]))
      integrand = lambda z, q=q: q.pdf(z) * (q.logpdf(z) - stats.norm.logpdf(z))  # noqa: E731
      expected[d] += integrate.quad(integrand, mean[d] - 9 * q.std(), mean[d] + 9 * q.std())[0] / 11
  np.testing.assert_allclose(kl_per_dimension(MEAN.astype(np.float64), LOG_VAR.astype(np.float64)), expected, rtol=1e-6)


def test_aggregate_moments_are_those_of_draws():
  number = RNG.integers(0, 11, size=400_000)
  z = MEAN[number] + np.exp(0.5 * LOG_VAR[number]) * RNG.normal(size=(400_000, 3))
  centre, covariance = aggregate_moments(MEAN.astype(np.float64), LOG_VAR.astype(np.float64))
  np.testing.assert_allclose(centre, z.mean(0), atol=0.02)
  np.testing.assert_allclose(covariance, np.cov(z.T), atol=0.05)


def test_errors_of_the_aggregate_are_those_over_sets_of_images():
  """The stated standard errors beside the spread of 300 sets."""
  values, errors = [], []
  for seed in range(300):
    generator = np.random.default_rng(seed)
    mean = 0.5 + generator.normal(size=(200, 2)) @ np.array([[1.0, 0.3], [0.0, 0.6]])
    log_var = 0.5 + 0.8 * generator.normal(size=(200, 2))
    scores = aggregate_scores(mean, log_var)
    values.append([score.value for score in scores.values()])
    errors.append([score.standard_error for score in scores.values()])
  np.testing.assert_allclose(np.mean(errors, axis=0), np.std(values, axis=0, ddof=1), rtol=0.15)


def test_a_planted_shift_and_spread():
  found = run(Planted(scale=(1.2, 0.4), shift=(0.3, -0.4), variance=(0.5, 0.9)))
  assert found.scores["aggregate_mean_norm"].value == pytest.approx(0.5, rel=1e-4)
  gap = np.array([1.44 + 0.5 - 1, 0.16 + 0.9 - 1])
  assert found.scores["aggregate_covariance_error"].value == pytest.approx(np.linalg.norm(gap), rel=1e-4)
  np.testing.assert_allclose(found.arrays["aggregate_mean"], [0.3, -0.4], atol=1e-5)
  np.testing.assert_allclose(found.arrays["aggregate_covariance"], np.diag(1 + gap), atol=1e-5)


def test_what_it_refuses():
  with pytest.raises(ConfigError, match="a hierarchy has no moments"):
    run(TwoLayers(), IMAGES)
