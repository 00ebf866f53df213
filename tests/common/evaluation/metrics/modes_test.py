"""Mode counts on planted sets: k modes dropped are k missing, and divergences are those of their histograms."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import entropy

from common.data.procedural import gaussian_modes, gaussians
from common.errors import ConfigError
from common.evaluation.metrics.modes import MixtureModes, StackedModes, modes_hit, stacked_modes, uniform_divergence
from common.evaluation.metrics.score import SampleSet

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
  """12 of each mode that is left; KL = log(1000 / left). No real picture counts."""
  left = RNG.permutation(1000)[dropped:]
  few, fake = stacked(triples(np.arange(2))), stacked(triples(np.repeat(left, 12000 // len(left))))
  found = StackedModes()(few, fake, 0)
  assert found["modes"].value == 1000 - dropped
  np.testing.assert_allclose(found["modes_kl"].value, np.log(1000 / (1000 - dropped)), atol=1e-12)
  assert found["modes"].about["calibration"] == "none: the real pictures have no labels"


def misread(modes, error):
  """26,000 pictures of these modes, each channel taken for another digit with this probability; and their labels."""
  rng = np.random.default_rng(len(modes))
  true = triples(rng.choice(modes, 26000))
  wrong = (true + rng.integers(1, 10, true.shape)) % 10
  return stacked(np.where(rng.random(true.shape) < error, wrong, true)), true @ [100, 10, 1]


@pytest.mark.parametrize("left", [1000, 900, 500, 300, 100, 10])
def test_a_collapsed_generator_is_not_whole_because_the_classifier_errs(left):
  """At an error of 0.6 % a channel the count is that of the modes that there are, and at one picture far above.

  Of 10 modes each has 2,600 pictures, and enough of them are misread as one and the same neighbour to make a few more.
  """
  real, labels = misread(np.arange(1000), 0.006)
  real, fake = dataclasses.replace(real, labels=labels), misread(np.arange(1000)[::-1][:left], 0.006)[0]
  found = StackedModes()(real, fake, 0)
  assert abs(found["modes"].value - left) <= (10 if left == 10 else 0)
  at_one_picture = StackedModes(least_share=0.0)(real, fake, 0)["modes"].value
  assert (at_one_picture > left + 10) == (left < 1000)
  for row in found["modes"].about["calibration"]:
    assert abs(row["modes"] - row["true"]) <= (10 if row["true"] == 10 else 0)
    np.testing.assert_allclose(row["modes_kl"], np.log(1000 / row["true"]), atol=0.15)


def test_the_calibration_reads_what_such_real_pictures_read():
  """A classifier that takes each 3 for a 5, and nothing else: of 1,000 modes it sees 729."""
  digits = triples(RNG.integers(1000, size=20000))
  real = dataclasses.replace(stacked(np.where(digits == 3, 5, digits)), labels=digits @ [100, 10, 1])
  rows = StackedModes()(real, real, 0)["modes"].about["calibration"]
  whole = rows[0]
  assert [row["true"] for row in rows] == [1000, 500, 300, 100, 10] and whole["modes"] == 9**3
  share = np.where(np.arange(10) == 5, 0.2, 0.1)[np.arange(10) != 3]
  np.testing.assert_allclose(whole["modes_kl"], 3 * np.sum(share * np.log(share / 0.1)), atol=0.05)
  assert rows == StackedModes()(real, stacked(digits), 0)["modes_kl"].about["calibration"], "the seed decides"
  fewer = dataclasses.replace(real, labels=np.where(digits == 7, 5, digits) @ [100, 10, 1])
  assert "not of all the 10 classes" in StackedModes()(fewer, real, 0)["modes"].about["calibration"]


def test_the_divergence_is_scipys_from_the_uniform():
  counts = np.bincount(RNG.integers(7, size=(500, 3)) @ [100, 10, 1], minlength=1000)
  np.testing.assert_allclose(uniform_divergence(counts)[0], entropy(counts, np.ones(1000)), rtol=1e-12)


def test_the_error_of_the_divergence_is_a_jackknife_over_samples():
  counts = np.array([5, 0, 1, 9, 2, 0])
  fewer = [uniform_divergence(counts - np.eye(6, dtype=int)[i])[0] for i in np.repeat(np.arange(6), counts)]
  np.testing.assert_allclose(uniform_divergence(counts)[1], np.sqrt((len(fewer) - 1) * np.var(fewer)), rtol=1e-10)


def test_the_errors_cover_repeated_draws():
  weights = RNG.dirichlet(np.ones(50))
  draws = [RNG.multinomial(400, weights) for _ in range(300)]
  values, errors = zip(*(uniform_divergence(counts) for counts in draws), strict=True)
  np.testing.assert_allclose(np.sqrt(np.mean(np.square(errors))), np.std(values), rtol=0.2)
  for least in (1, 4):
    numbers, errors = zip(*(modes_hit(counts, least) for counts in draws), strict=True)
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(errors))), np.std(numbers), rtol=0.25)
  assert modes_hit(np.zeros(3, int), 1) == (0.0, 0.0)


def test_logits_that_are_no_modes_are_an_error():
  good = stacked(triples(np.arange(20)))
  with pytest.raises(ValueError, match="the generated pictures have no logits"):
    StackedModes()(good, SampleSet(good.images, good.features), 0)
  with pytest.raises(ValueError, match="30 logits are not those of channels=4"):
    StackedModes(channels=4)(good, good, 0)
  with pytest.raises(ValueError, match=r"3\^30 modes|30 logits|2\^15|10\^|too many"):
    StackedModes(channels=15)(*[SampleSet(good.images, good.features, np.tile(good.logits, 3))] * 2, 0)
  with pytest.raises(ValueError, match="20 of 20 generated logits are not finite"):
    StackedModes()(good, SampleSet(good.images, good.features, good.logits * np.nan), 0)
  with pytest.raises(ValueError, match="20 generated pictures are too few for 1,000 modes.* draw more than 4,000"):
    StackedModes()(good, good, 0)
  with pytest.raises(ConfigError, match="least_share=1.0"):
    StackedModes(least_share=1.0)
  with pytest.raises(ConfigError, match="channels=0"):
    StackedModes(channels=0)


def points(rows):
  rows = np.asarray(rows, np.float32).reshape(-1, 1, 1, 2)
  return SampleSet(rows, rows.reshape(-1, 2))


def mixture(count, modes, seed=0):
  rng = np.random.default_rng(seed)
  centres, deviation = gaussian_modes()
  return points(centres[rng.choice(modes, size=count)] + deviation * rng.normal(size=(count, 2)))


@pytest.mark.parametrize("dropped", [0, 3, 7])
def test_dropped_components_are_missing(dropped):
  real, fake = mixture(2000, np.arange(8)), mixture(4000, np.arange(dropped, 8), seed=1)
  found = MixtureModes()(real, fake, 0)
  assert found["mixture_modes"].value == 8 - dropped
  share = found["high_quality"]
  assert abs(share.value - (1 - np.exp(-4.5))) < 4 * share.standard_error
  np.testing.assert_allclose(found["mixture_modes_kl"].value, np.log(8 / (8 - dropped)), atol=0.02)


def test_the_data_set_is_at_its_modes():
  images = gaussians().read("test", np.arange(8192))["image"]
  found = MixtureModes()(points(images), points(images), 0)
  assert found["mixture_modes"].value == 8
  assert abs(found["high_quality"].value - (1 - np.exp(-4.5))) < 4 * found["high_quality"].standard_error
  assert found["mixture_modes_kl"].value < 0.01


def test_three_deviations_are_the_limit():
  """Twelve points a little inside of the circle about one centre, twelve outside of another's: of low quality."""
  angles = np.arange(12) * np.pi / 6
  circle = 0.06 * np.stack([np.cos(angles), np.sin(angles)], 1)
  (one, other), real = gaussian_modes()[0][:2], mixture(500, np.arange(8))
  found = MixtureModes()(real, points(np.concatenate([one + 0.999 * circle, other + 1.001 * circle])), 0)
  assert found["high_quality"].value == 0.5 and found["mixture_modes"].value == 1
  np.testing.assert_allclose(found["mixture_modes_kl"].value, np.log(8 / 2), rtol=1e-12)


def test_other_points_are_an_error():
  real = mixture(500, np.arange(8))
  with pytest.raises(ValueError, match="^0% of the real points lie at the modes of gaussians8"):
    MixtureModes()(points(np.zeros((9, 2))), real, 0)
  with pytest.raises(ValueError, match=r"uint8 of shape \(9, 2, 2, 1\) are not 2 or more generated points"):
    MixtureModes()(real, SampleSet(np.zeros((9, 2, 2, 1), np.uint8), np.zeros((9, 4))), 0)
  with pytest.raises(ValueError, match="1 of 2 points are not finite"):
    MixtureModes()(real, points([[0, np.nan], [0, 0]]), 0)
