"""The Parzen window against scipy's densities and the closed form of many Gaussian kernels."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from common.errors import ConfigError
from common.evaluation.metrics.parzen import ParzenWindow, parzen_log_density
from common.evaluation.metrics.score import SampleSet

RNG = np.random.default_rng(0)


def pictures(count, size=4, seed=0):
  return np.random.default_rng(seed).integers(256, size=(count, size, size, 1)).astype(np.uint8)


def score(real, fake, seed=0, **settings):
  sets = (SampleSet(images, np.zeros((len(images), 1), np.float32)) for images in (real, fake))
  return ParzenWindow(**settings)(*sets, seed)["parzen_log_likelihood"]


def reference(queries, centres, sigma):
  parts = [multivariate_normal.logpdf(queries, centre, sigma**2).reshape(-1) for centre in centres]
  return logsumexp(parts, axis=0) - np.log(len(centres))


@pytest.mark.parametrize("block", [1 << 23, 50])
def test_the_density_is_that_of_scipy(block):
  queries, centres = RNG.normal(size=(13, 5)), RNG.normal(size=(17, 5))
  sigmas = np.array([0.05, 0.7, 3.0])
  found = parzen_log_density(queries, centres, sigmas, block=block)
  for i, sigma in enumerate(sigmas):
    np.testing.assert_allclose(found[i], reference(queries, centres, sigma), rtol=1e-5)


def test_a_density_sums_to_one():
  grid = np.linspace(-8, 8, 4001)
  log_density = parzen_log_density(grid[:, None], RNG.normal(size=(30, 1)), np.array([0.3]))[0]
  np.testing.assert_allclose(np.trapezoid(np.exp(log_density), grid), 1.0, rtol=1e-4)


def test_a_far_offset_costs_no_digits():
  queries, centres = RNG.normal(size=(5, 3)), RNG.normal(size=(6, 3))
  near, far = (parzen_log_density(queries + c, centres + c, np.array([0.2])) for c in (0.0, 1e5))
  np.testing.assert_allclose(far, near, rtol=1e-4)


def test_the_score_is_a_mean_over_what_sigma_was_not_chosen_by():
  real, fake, seed = pictures(40), pictures(25, seed=1), 3
  found = score(real, fake, seed, sigmas=5, held_out=0.25)
  order = np.random.Generator(np.random.Philox(seed)).permutation(40)
  rows = [x.reshape(len(x), -1) / 255 for x in (real[order], fake)]
  grid = [reference(rows[0][:10], rows[1], sigma).mean() for sigma in np.logspace(-1, 0, 5)]
  sigma = np.logspace(-1, 0, 5)[np.argmax(grid)]
  assert 0 < np.argmax(grid) < 4
  expected = reference(rows[0][10:], rows[1], sigma)
  np.testing.assert_allclose(found.value, expected.mean(), rtol=1e-5)
  np.testing.assert_allclose(found.standard_error, expected.std(ddof=1) / np.sqrt(30), rtol=1e-4)
  assert found.method == f"mean of 30 real pictures, sigma {sigma:.4g} by 10 others"
  assert found == score(real, fake, seed, sigmas=5, held_out=0.25)


def test_the_end_of_the_grid_is_said():
  assert "at the end of the grid" in score(pictures(40), pictures(25, seed=1), smallest=2.0, largest=4.0).method
  assert "end of the grid" not in score(pictures(40), pictures(25), smallest=2.0, largest=2.0, sigmas=1).method


def test_points_stay_as_they_are():
  points = RNG.normal(size=(40, 1, 1, 2)).astype(np.float32)
  found = score(points, points + 0.0, sigmas=1, smallest=1.0)
  order = np.random.Generator(np.random.Philox(0)).permutation(40)
  rows = points.reshape(40, 2)
  np.testing.assert_allclose(found.value, reference(rows[order[4:]], rows, 1.0).mean(), rtol=1e-5)


def test_what_has_no_density_is_an_error():
  with pytest.raises(ConfigError, match="smallest=0.0"):
    ParzenWindow(smallest=0.0)
  with pytest.raises(ConfigError, match="held_out=1.0"):
    ParzenWindow(held_out=1.0)
  with pytest.raises(ConfigError, match="sigmas=0"):
    ParzenWindow(sigmas=0)
  with pytest.raises(ValueError, match=r"9 real and 5 generated pictures: held_out=0.1 needs 10 and 1"):
    score(pictures(9), pictures(5))
  with pytest.raises(ValueError, match="16 and 9 pixels"):
    score(pictures(20), pictures(20, size=3))
  with pytest.raises(ValueError, match="20 of 20 generated pictures are not finite"):
    score(np.zeros((20, 1, 1, 2), np.float32), np.full((20, 1, 1, 2), np.inf, np.float32))


@pytest.mark.parametrize("held_out", [0.01, 0.1, 0.3, 0.5, 0.75, 0.99])
def test_the_least_number_is_enough(held_out):
  least = ParzenWindow(held_out=held_out).least()[0]
  assert score(pictures(least, size=1), pictures(3, size=1), held_out=held_out).standard_error >= 0
