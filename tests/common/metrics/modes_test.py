"""Mode counts on planted sets: k modes dropped are k missing, and divergences are those of their histograms."""

import numpy as np
import pytest
from scipy.stats import entropy

from common.build import ConfigError
from common.data.procedural import gaussian_modes, gaussians
from common.metrics.modes import (
  UNSEEN,
  MixtureModes,
  StackedModes,
  divergence_error,
  mode_divergence,
  modes_hit_error,
  stacked_modes,
)
from common.metrics.score import SampleSet

RNG = np.random.default_rng(0)


def stacked(digits, classes=10):
  """Digits [N, channels] -> a set whose classifier is sure of them, with channels that differ in scale."""
  sure = np.eye(classes)[digits] * [[[5.0], [1.0], [30.0]]][: digits.shape[1]] - [[[1.0], [20.0], [0.0]]]
  logits = sure.reshape(len(digits), -1).astype(np.float32)
  return SampleSet(np.zeros((len(digits), 1, 1, 3), np.uint8), logits, logits)


def triples(modes):
  return np.stack(np.unravel_index(modes, (10, 10, 10)), axis=1)


def test_a_mode_is_the_triple_of_the_channels():
  modes = RNG.permutation(1000)
  found, total = stacked_modes(stacked(triples(modes)).logits, 3)
  np.testing.assert_array_equal(found, modes)
  assert total == 1000
  logits = RNG.normal(size=(50, 7))
  np.testing.assert_array_equal(stacked_modes(logits, 1)[0], np.argmax(logits, axis=1))


@pytest.mark.parametrize("dropped", [0, 1, 137, 999])
def test_dropped_modes_are_missing(dropped):
  """Real: 4 of each of 1,000 modes. Fake: 3 of each that is left; KL = log(1000 / left)."""
  real, fake = np.repeat(np.arange(1000), 4), np.repeat(RNG.permutation(1000)[dropped:], 3)
  found = StackedModes()(stacked(triples(real)), stacked(triples(fake)), 0)
  assert found["modes"].value == 1000 - dropped and found["modes_real"].value == 1000
  np.testing.assert_allclose(found["modes_kl"].value, np.log(1000 / (1000 - dropped)), atol=1e-12)
  assert "0 modes without a real one" in found["modes_kl"].method


def test_the_divergence_is_scipys_of_the_histograms():
  real, fake = RNG.integers(10, size=(3000, 3)) ** 2 % 7, RNG.integers(7, size=(500, 3))
  found = StackedModes()(stacked(real), stacked(fake), 0)
  counts = [np.bincount(rows @ [100, 10, 1], minlength=1000).astype(float) for rows in (real, fake)]
  counts[0][counts[0] == 0] = UNSEEN
  np.testing.assert_allclose(found["modes_kl"].value, entropy(counts[1], counts[0]), rtol=1e-12)
  assert np.isfinite(found["modes_kl"].value) and "modes without a real one" in found["modes_kl"].method


@pytest.mark.parametrize("known", [True, False])
def test_the_error_of_the_divergence_is_a_jackknife_over_samples(known):
  counts = np.array([5, 0, 1, 9, 2, 0])
  reference = np.array([3.0, 4.0, 1.0, 7.0, UNSEEN, 1.0])

  def spread(values):
    return (len(values) - 1) * np.var(values)

  fewer = [mode_divergence(counts - np.eye(6, dtype=int)[i], reference) for i in np.repeat(np.arange(6), counts)]
  variance = spread(fewer)
  if not known:
    sampled = np.repeat(np.arange(6), np.floor(reference).astype(int))
    others = [np.maximum(reference - np.eye(6)[i], UNSEEN) for i in sampled]
    variance += spread([mode_divergence(counts, other) for other in others])
  np.testing.assert_allclose(divergence_error(counts, reference, known=known), np.sqrt(variance), rtol=1e-10)


def test_the_error_of_the_count_is_a_jackknife_over_samples():
  counts = np.array([5, 0, 1, 9, 1, 1])
  fewer = [np.sum(counts - np.eye(6, dtype=int)[i] > 0) for i in np.repeat(np.arange(6), counts)]
  np.testing.assert_allclose(modes_hit_error(counts), np.sqrt(16 * np.var(fewer)), rtol=1e-12)
  assert modes_hit_error(np.zeros(3, int)) == 0.0


def test_the_errors_cover_repeated_draws():
  weights = RNG.dirichlet(np.ones(50))
  draws = [(RNG.multinomial(200, weights), np.maximum(RNG.multinomial(400, weights[::-1]), UNSEEN)) for _ in range(300)]
  values = [mode_divergence(*each) for each in draws]
  errors = [divergence_error(*each, known=False) for each in draws]
  np.testing.assert_allclose(np.sqrt(np.mean(np.square(errors))), np.std(values), rtol=0.2)
  hit = np.std([np.sum(counts > 0) for counts, _ in draws])
  assert hit < np.mean([modes_hit_error(counts) for counts, _ in draws]) < 2 * hit, "a jackknife errs on the large side"


def test_logits_that_are_no_modes_are_an_error():
  good = stacked(triples(np.arange(20)))
  with pytest.raises(ValueError, match="the generated pictures have no logits"):
    StackedModes()(good, SampleSet(good.images, good.features), 0)
  with pytest.raises(ValueError, match="30 logits are not those of channels=4"):
    StackedModes(channels=4)(good, good, 0)
  with pytest.raises(ValueError, match=r"3\^30 modes|30 logits|2\^15|10\^|too many"):
    StackedModes(channels=15)(*[SampleSet(good.images, good.features, np.tile(good.logits, 3))] * 2, 0)
  with pytest.raises(ValueError, match="20 of 20 real logits are not finite"):
    StackedModes()(SampleSet(good.images, good.features, good.logits * np.nan), good, 0)
  with pytest.raises(ValueError, match="30 and 60 logits"):
    StackedModes()(good, SampleSet(good.images, good.features, np.tile(good.logits, 2)), 0)
  with pytest.raises(ConfigError, match="channels=0"):
    StackedModes(channels=0)


def points(rows):
  rows = np.asarray(rows, np.float32).reshape(-1, 1, 1, 2)
  return SampleSet(rows, rows.reshape(-1, 2))


def mixture(name, count, modes, seed=0):
  rng = np.random.default_rng(seed)
  centres, deviation = gaussian_modes(name)
  return points(centres[rng.choice(modes, size=count)] + deviation * rng.normal(size=(count, 2)))


@pytest.mark.parametrize(("name", "total"), [("gaussians8", 8), ("gaussians25", 25)])
@pytest.mark.parametrize("dropped", [0, 3, 7])
def test_dropped_components_are_missing(name, total, dropped):
  real, fake = mixture(name, 2000, np.arange(total)), mixture(name, 4000, np.arange(dropped, total), seed=1)
  found = MixtureModes(mixture=name)(real, fake, 0)
  assert found["mixture_modes"].value == total - dropped
  share = found["high_quality"]
  assert abs(share.value - (1 - np.exp(-4.5))) < 4 * share.standard_error
  np.testing.assert_allclose(found["mixture_modes_kl"].value, np.log(total / (total - dropped)), atol=0.02)


def test_the_data_set_is_at_its_modes():
  images = gaussians("gaussians25").read("test", np.arange(8192))[0]
  found = MixtureModes()(points(images), points(images), 0)
  assert found["mixture_modes"].value == 25
  assert abs(found["high_quality"].value - (1 - np.exp(-4.5))) < 4 * found["high_quality"].standard_error
  assert found["mixture_modes_kl"].value < 0.01


def test_three_deviations_are_the_limit():
  """Twelve points a little inside and a little outside of the circle about one centre; the last are of low quality."""
  angles = np.arange(12) * np.pi / 6
  circle = 0.15 * np.stack([np.cos(angles), np.sin(angles)], 1)
  real = mixture("gaussians25", 500, np.arange(25))
  found = MixtureModes()(real, points(np.concatenate([0.999 * circle, 1.001 * circle + 2.0])), 0)
  assert found["high_quality"].value == 0.5 and found["mixture_modes"].value == 1
  np.testing.assert_allclose(found["mixture_modes_kl"].value, np.log(25 / 2), rtol=1e-12)


def test_another_mixture_is_an_error():
  eight, many = mixture("gaussians8", 500, np.arange(8)), mixture("gaussians25", 500, np.arange(25))
  with pytest.raises(ValueError, match='of the real points lie at the modes of mixture="gaussians25"'):
    MixtureModes()(eight, many, 0)
  with pytest.raises(ValueError, match='of the real points lie at the modes of mixture="gaussians8"'):
    MixtureModes(mixture="gaussians8")(many, eight, 0)
  with pytest.raises(ConfigError, match='mixture="rings"'):
    MixtureModes(mixture="rings")
  with pytest.raises(ValueError, match=r"uint8 of shape \(9, 2, 2, 1\) are not 2 or more generated points"):
    MixtureModes()(many, SampleSet(np.zeros((9, 2, 2, 1), np.uint8), np.zeros((9, 4))), 0)
  with pytest.raises(ValueError, match="1 of 2 points are not finite"):
    MixtureModes()(many, points([[0, np.nan], [0, 0]]), 0)
