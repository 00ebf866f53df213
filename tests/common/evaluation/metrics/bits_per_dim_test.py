"""Bits a dimension: densities whose bits are known, and settings for which there are none."""

import dataclasses
import math

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from scipy import stats

from common.data.batches import EvalFeed
from common.data.spec import RowType, Spec
from common.errors import ConfigError
from common.evaluation.metrics.bits_per_dim import BitsPerDim, dimensions
from common.evaluation.metrics.bound import Bound
from common.evaluation.metrics.likelihood import Model
from experiments import build_algorithm
from tests.common.evaluation.metrics.linear_gaussian import mesh_of
from tests.tiny import config_of, dataset_of, fresh_state


def spec_of(low=0.0, high=1.0, kind="images"):
  return Spec((4, 3, 2), 0, 8, kind, (low, high), "")


def config_with(likelihood, dequantize=False, binarize="none"):
  return ConfigDict(
    {"likelihood": {"name": likelihood}, "data": {"name": "toy", "dequantize": dequantize, "binarize": binarize}}
  )


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0)])
def test_a_uniform_density_on_dequantized_pixels_takes_8_bits(low, high):
  found = dimensions(spec_of(low, high), config_with("gaussian", dequantize=True))
  nats = 24 * math.log(high - low)
  np.testing.assert_allclose(found.bits(np.array([nats])), [8.0], rtol=1e-12)


def test_fair_coins_take_1_bit():
  found = dimensions(spec_of(), config_with("bernoulli", binarize="dynamic"))
  np.testing.assert_allclose(found.bits(np.array([24 * math.log(2), 0.0])), [1.0, 0.0], rtol=1e-12)


@pytest.mark.parametrize(("low", "high", "sigma"), [(0.0, 1.0, 0.2), (-1.0, 1.0, 0.4), (0.0, 1.0, 0.002)])
def test_bits_of_a_gaussian_bound_those_of_its_grey_values(low, high, sigma):
  """P(v) = the integral over v's cell; tight where the density is wide beside a cell, 1/256 of the range."""
  found = dimensions(spec_of(low, high), config_with("gaussian", dequantize=True))
  q = stats.norm(0.4 * (high - low) + low, sigma)
  value, noise = 101, (np.arange(1000) + 0.5) / 1000
  at = lambda v: low + (high - low) * v / 256  # noqa: E731
  bits = found.bits(-24 * q.logpdf(at(value + noise))).mean()
  exact = -math.log2(q.cdf(at(value + 1)) - q.cdf(at(value)))
  assert bits >= exact
  if sigma > 0.1:
    assert bits == pytest.approx(exact, abs=1e-3)
  else:
    assert bits > exact + 0.1


@pytest.mark.parametrize(
  ("spec", "config", "message"),
  [
    (spec_of(), config_with("bernoulli"), 'cross-entropy and no likelihood .*; set config.data.binarize="dynamic"'),
    (spec_of(), config_with("bernoulli", dequantize=True), "cross-entropy and no likelihood"),
    (spec_of(), config_with("gaussian"), "has no bound .*; set config.data.dequantize=True"),
    (spec_of(), config_with("gaussian", binarize="dynamic"), "has no bound"),
    (spec_of(), config_with("cauchy", dequantize=True), 'of likelihood "cauchy" only nats are known'),
    (spec_of(kind="points"), config_with("gaussian", dequantize=True), '"toy" has points, not pixels'),
    (dataclasses.replace(spec_of(), rows=(RowType("seen", (4, 3, 3), "float32"),)), config_with("gaussian"), "holes"),
  ],
)
def test_where_bits_have_no_meaning(spec, config, message):
  with pytest.raises(ConfigError, match=message):
    dimensions(spec, config)


def test_the_metric_scales_the_bound_of_a_vae():
  variant = "vae:digits,tiny"
  config, dataset = config_of(variant), dataset_of(variant)
  algorithm = build_algorithm(config, dataset.spec)
  model = Model(algorithm, jax.device_get(fresh_state(algorithm, variant)), dataset.spec, config, mesh_of(1))
  feed = EvalFeed(dataset.validation, model.mesh, batch_size=97, resident_mb=100)
  elbo = Bound()(model, feed)
  found = BitsPerDim()(model, feed)
  score, pixels = found.scores["bits_per_dim"], math.prod(dataset.spec.image_shape)
  np.testing.assert_allclose(found.per_image["bits_per_dim"], -elbo.per_image["elbo"] / (pixels * math.log(2)))
  assert score.value == pytest.approx(-elbo.scores["elbo"].value / (pixels * math.log(2)))
  assert score.standard_error == pytest.approx(elbo.scores["elbo"].standard_error / (pixels * math.log(2)))
  assert score.method == "97 images, ELBO, binarized pixels"
  assert list(model.programs) == [Bound()]  # compiled once for both
  assert BitsPerDim(k=20)(model, feed).scores["bits_per_dim"].value < score.value

  grey = config_of(variant, data__binarize="none")
  with pytest.raises(ConfigError, match="cross-entropy"):
    BitsPerDim()(dataclasses.replace(model, config=grey), feed)


def test_settings_without_meaning():
  with pytest.raises(ConfigError, match="k=0"):
    BitsPerDim(k=0)
