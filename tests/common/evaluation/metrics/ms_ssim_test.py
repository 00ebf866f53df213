"""Multi-scale similarity against one by scipy's two-dimensional correlation, and sets of known diversity."""

import numpy as np
import pytest
from scipy.signal import correlate2d

from common.errors import ConfigError
from common.evaluation.metrics import ms_ssim as module
from common.evaluation.metrics.ms_ssim import MsSsim, MsSsimWithinClass, ms_ssim, scales_that_fit
from common.evaluation.metrics.score import SampleSet

RNG = np.random.default_rng(0)


def pictures(count, size, channels=1, seed=0):
  """Smooth random pictures, uint8."""
  coarse = np.random.default_rng(seed).normal(size=(count, 6, 6, channels))
  grid = np.linspace(0, 4.99, size)
  low, part = grid.astype(int), grid % 1
  rows = coarse[:, low] * (1 - part)[:, None, None] + coarse[:, low + 1] * part[:, None, None]
  fine = rows[:, :, low] * (1 - part)[:, None] + rows[:, :, low + 1] * part[:, None]
  return np.clip(128 + 60 * fine, 0, 255).astype(np.uint8)


def reference(x, y, scales, window=11):
  """One channel in float64, after the formulas of Wang et al. 2003 and 2004 with a two-dimensional window."""
  place = np.arange(window) - (window - 1) / 2
  kernel = np.exp(-(place[:, None] ** 2 + place**2) / (2 * (1.5 * window / 11) ** 2))
  kernel /= kernel.sum()
  weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:scales]
  weights, out = weights / weights.sum(), 1.0
  for scale in range(scales):
    mean_x, mean_y = correlate2d(x, kernel, "valid"), correlate2d(y, kernel, "valid")
    var_x = correlate2d(x**2, kernel, "valid") - mean_x**2
    var_y = correlate2d(y**2, kernel, "valid") - mean_y**2
    both = correlate2d(x * y, kernel, "valid") - mean_x * mean_y
    structure = (2 * both + 0.0009) / (var_x + var_y + 0.0009)
    luminance = (2 * mean_x * mean_y + 0.0001) / (mean_x**2 + mean_y**2 + 0.0001)
    value = (structure * luminance if scale == scales - 1 else structure).mean()
    out *= max(value, 0) ** weights[scale]
    x, y = (correlate2d(z, np.full((2, 2), 0.25), "valid")[::2, ::2] for z in (x, y))
  return out


@pytest.mark.parametrize(
  ("size", "channels", "scales"), [(28, 1, 2), (32, 3, 2), (45, 1, 3), (64, 3, 3), (176, 1, 5), (11, 1, 1)]
)
def test_equals_a_two_dimensional_window(size, channels, scales):
  x, y = (pictures(3, size, channels, seed) / 255 for seed in (0, 1))
  y[0] = np.clip(x[0] + 0.05 * RNG.normal(size=x[0].shape), 0, 1)
  expected = [
    np.mean([reference(a[..., c], b[..., c], scales) for c in range(channels)]) for a, b in zip(x, y, strict=True)
  ]
  assert expected[0] > 0.5 > min(expected[1:])
  np.testing.assert_allclose(ms_ssim(x.astype(np.float32), y.astype(np.float32)), expected, atol=2e-5)


def test_a_picture_smaller_than_the_window():
  x, y = (pictures(2, 8, seed=seed) / 255 for seed in (0, 1))
  y = 0.7 * x + 0.3 * y
  expected = [reference(a[..., 0], b[..., 0], 1, window=8) for a, b in zip(x, y, strict=True)]
  np.testing.assert_allclose(ms_ssim(x.astype(np.float32), y.astype(np.float32)), expected, atol=2e-5)


def test_how_many_scales_fit():
  sizes = {8: (1, 8), 11: (1, 11), 21: (1, 11), 22: (2, 11), 28: (2, 11), 32: (2, 11), 44: (3, 11), 64: (3, 11)}
  sizes |= {128: (4, 11), 175: (4, 11), 176: (5, 11), 1024: (5, 11)}
  assert {size: scales_that_fit(size, size + 7) for size in sizes} == sizes


@pytest.mark.parametrize("size", [28, 64])
def test_a_picture_is_like_itself_and_unlike_its_negative(size):
  x = (pictures(4, size) / 255).astype(np.float32)
  np.testing.assert_allclose(ms_ssim(x, x), 1.0, rtol=1e-5)
  np.testing.assert_array_equal(ms_ssim(x, 1 - x), 0.0)
  y = (pictures(4, size, seed=1) / 255).astype(np.float32)
  np.testing.assert_allclose(ms_ssim(x, y), ms_ssim(y, x), rtol=1e-5)


def samples(images, labels=None):
  labels = None if labels is None else np.asarray(labels, np.int32)
  return SampleSet(images, np.zeros((len(images), 1), np.float32), labels=labels)


def test_the_mean_is_over_pairs_without_a_picture_in_two(monkeypatch):
  """Each block of pairs is looked at: no picture comes twice, but where the last pair fills up the block."""
  images = pictures(27, 16)
  images[:, 0, 0, 0] = np.arange(27)
  seen, original = [], ms_ssim

  def watched(first, second):
    seen.append(np.rint(255 * np.stack([first, second])[:, :, 0, 0, 0]).astype(int).T)
    return original(first, second)

  monkeypatch.setattr(module, "ms_ssim", watched)
  monkeypatch.setattr(module, "BLOCK", 4 * 16 * 16)
  found = MsSsim(pairs=10)(samples(images), samples(images), 5)
  pairs = np.concatenate(seen[: len(seen) // 2])
  assert all(len(block) == 4 for block in seen) and len(pairs) == 12
  assert len(np.unique(pairs[:10])) == 20 and np.all(pairs[10:] == pairs[9])
  unit = images.astype(np.float32) / 255
  values = np.asarray(original(unit[pairs[:10, 0]], unit[pairs[:10, 1]]), np.float64)
  for score in found.values():
    np.testing.assert_allclose(score.value, values.mean(), rtol=1e-5)
    np.testing.assert_allclose(score.standard_error, values.std(ddof=1) / np.sqrt(10), rtol=1e-4)
    assert score.method == "10 pairs, 1 of 5 scales, window 11x11"


def test_a_collapsed_model_is_more_alike_than_the_data():
  real = pictures(60, 28)
  collapsed = np.repeat(real[:1], 60, axis=0)
  found = MsSsim()(samples(real), samples(collapsed), 0)
  assert found["ms_ssim"].value == pytest.approx(1.0) and found["ms_ssim"].method.startswith("30 pairs, 2 of 5 scales")
  assert found["ms_ssim_real"].value < 0.5
  assert found == MsSsim()(samples(real), samples(collapsed), 0)
  assert found != MsSsim()(samples(real), samples(collapsed), 1)


def test_within_a_class():
  """Class 0 is one picture, class 1 is not: the mean is over the two classes, however many pictures they have."""
  labels = np.array([0] * 8 + [1] * 40)
  images = pictures(48, 28)
  images[:8] = images[0]
  found = MsSsimWithinClass(pairs=10)(samples(images, labels), samples(images, labels), 0)
  score = found["ms_ssim_within_class"]
  alone = MsSsimWithinClass(pairs=10)(samples(images[8:], labels[8:]), samples(images[8:], labels[8:]), 0)
  assert score.method == "14 pairs of 2 classes, 2 of 5 scales, window 11x11"
  other = 2 * score.value - 1.0
  assert abs(other - alone["ms_ssim_within_class"].value) < 5 * alone["ms_ssim_within_class"].standard_error
  assert other < 0.6 and 0 < score.standard_error < 0.1
  assert score == found["ms_ssim_within_class_real"]


def test_a_class_that_is_one_picture_is_found_within_classes_only():
  classes = np.arange(60) % 6
  real, fake = pictures(60, 28), pictures(6, 28, seed=9)[classes]
  overall = MsSsim()(samples(real, classes), samples(fake, classes), 0)
  within = MsSsimWithinClass()(samples(real, classes), samples(fake, classes), 0)
  assert within["ms_ssim_within_class"].value == pytest.approx(1.0)
  assert overall["ms_ssim"].value < 0.6 and within["ms_ssim_within_class_real"].value < 0.5


def test_what_makes_no_pairs_is_an_error():
  images = pictures(8, 28)
  with pytest.raises(ConfigError, match="pairs=1"):
    MsSsim(pairs=1)
  with pytest.raises(ConfigError, match="pairs=0"):
    MsSsimWithinClass(pairs=0)
  with pytest.raises(ValueError, match="3 generated pictures make no two pairs"):
    MsSsim()(samples(images), samples(images[:3]), 0)
  with pytest.raises(ValueError, match="2 real pictures of class 1 make no two pairs"):
    MsSsimWithinClass()(samples(images, [0] * 6 + [1] * 2), samples(images, [0, 1] * 4), 0)
  with pytest.raises(ValueError, match="no labels"):
    MsSsimWithinClass()(samples(images), samples(images), 0)
  with pytest.raises(ValueError, match="float32 have no structural similarity"):
    MsSsim()(samples(images), samples(images.astype(np.float32)), 0)
