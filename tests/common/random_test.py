"""Draws depend on the key and the row alone, and have the distributions that they are named for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from common import random

COUNT = 4000
DRAWS = {
  "normal": lambda rows: random.normal(rows, (2,)),
  "uniform": lambda rows: random.uniform(rows, (2,), -1.0, 3.0),
  "bernoulli": lambda rows: random.bernoulli(rows, jnp.full((len(rows), 2), 0.3)),
  "integers": lambda rows: random.integers(rows, 2, 7),
}


@pytest.fixture(scope="module")
def rows():
  return random.row_keys(jax.random.key(0), jnp.arange(COUNT))


@pytest.mark.parametrize("name", DRAWS)
def test_a_row_does_not_know_its_batch(rows, name):
  draw = DRAWS[name]
  picked = jnp.array([17, 3, 1000])
  np.testing.assert_array_equal(draw(random.row_keys(jax.random.key(0), picked)), draw(rows)[picked])


def test_streams_are_independent_of_each_other_and_of_their_order():
  rng = jax.random.key(0)
  words = {name: np.asarray(jax.random.key_data(random.stream(rng, name))).tobytes() for name in ("z", "data", "flip")}
  assert len(set(words.values())) == 3
  draws = [random.normal(random.row_keys(random.stream(rng, name), jnp.arange(COUNT)), ()) for name in ("z", "data")]
  assert abs(np.corrcoef(draws)[0, 1]) < 4 / np.sqrt(COUNT)


def test_streams_do_not_depend_on_the_process():
  """Python's hash of a string does; a resumed run would go on with other noise."""
  crc32 = 0x62D277AF  # of "z"
  expected = jax.random.fold_in(jax.random.key(0), crc32)
  assert random.stream(jax.random.key(0), "z") == expected


def test_distributions(rows):
  assert stats.kstest(np.ravel(DRAWS["normal"](rows)), "norm").pvalue > 1e-3
  assert stats.kstest(np.ravel(DRAWS["uniform"](rows)), stats.uniform(-1.0, 4.0).cdf).pvalue > 1e-3
  zeros_and_ones = np.asarray(DRAWS["bernoulli"](rows))
  assert set(np.unique(zeros_and_ones)) == {0.0, 1.0} and zeros_and_ones.dtype == np.float32
  assert abs(zeros_and_ones.mean() - 0.3) < 4 * np.sqrt(0.21 / zeros_and_ones.size)
  counts = np.bincount(DRAWS["integers"](rows), minlength=8)
  assert counts[:2].sum() == counts[7:].sum() == 0
  assert stats.chisquare(counts[2:7]).pvalue > 1e-3


def test_values_within_a_row_differ(rows):
  both = np.asarray(random.normal(rows, (2,)))
  assert abs(np.corrcoef(both.T)[0, 1]) < 4 / np.sqrt(COUNT)


def test_bernoulli_keeps_certain_pixels(rows):
  np.testing.assert_array_equal(random.bernoulli(rows, jnp.zeros((COUNT, 1))), np.zeros((COUNT, 1)))
  np.testing.assert_array_equal(random.bernoulli(rows, jnp.ones((COUNT, 1))), np.ones((COUNT, 1)))


@pytest.mark.parametrize("rate", [0.3, 5.0, 15.9, 16.1, 200.0])
def test_photons_have_poisson_s_distribution(rate):
  many = random.row_keys(jax.random.key(1), jnp.arange(100))
  counts = np.asarray(random.poisson(many, jnp.full((100, 2000), rate))).ravel()
  assert (counts == np.round(counts)).all() and counts.min() >= 0
  law = stats.poisson(rate)
  edges = np.unique(law.ppf(np.linspace(0, 1, 21)[1:-1]))
  shares = np.diff(np.r_[0, [(counts <= edge).mean() for edge in edges], 1])
  expected = np.diff(np.r_[0, law.cdf(edges), 1])
  assert stats.chisquare(shares * len(counts), expected * len(counts)).pvalue > 1e-3
