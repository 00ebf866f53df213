"""PSNR, SSIM and MS-SSIM against closed forms, scikit-image and a double loop; what their settings compare."""

import numpy as np
import pytest

from common.evaluation.metrics.diversity import Diversity
from common.evaluation.metrics.psnr import CAP, Psnr, psnr
from common.evaluation.metrics.score import SampleSet
from common.evaluation.metrics.ssim import WEIGHTS, MultiScaleSsim, Ssim, halved, multi_scale, similarity

RNG = np.random.default_rng(0)


def samples(images, holes=None, draws=None):
  return SampleSet(np.asarray(images, np.uint8), np.zeros((len(images), 0)), holes=holes, draws=draws)


def pair(height=40, width=33, channels=3, noise=20):
  """Two smooth pictures and noisy copies of them."""
  smooth = 120 + 60 * np.sin(np.arange(height)[:, None, None] / 5) * np.cos(np.arange(width)[None, :, None] / 4)
  real = smooth + RNG.normal(0, 15, (2, height, width, channels))
  return (np.clip(x, 0, 255).astype(np.uint8) for x in (real, real + RNG.normal(0, noise, real.shape)))


def score(metric, fake, real, holes=None):
  [value] = metric(samples(real), samples(fake, holes), 0).values()
  return value


def test_psnr_averages_decibels_over_the_pictures():
  real = np.full((2, 4, 4, 3), 100)
  fake = real + np.array([1, 16]).reshape(2, 1, 1, 1)
  expected = 20 * np.log10(255), 20 * np.log10(255 / 16)
  result = score(Psnr(), fake, real)
  assert result.value == pytest.approx(np.mean(expected), abs=1e-12)
  assert result.standard_error == pytest.approx(np.std(expected, ddof=1) / np.sqrt(2))


def test_psnr_of_equal_pictures_is_the_cap():
  assert score(Psnr(), *[RNG.integers(0, 256, (2, 4, 4, 3))] * 2).value == CAP
  one = np.zeros((1000, 1000, 3))
  one[0, 0, 0] = 1  # the smallest difference of large pictures
  assert psnr(one, np.zeros_like(one)) == CAP


@pytest.mark.parametrize(("channel", "factor"), [("rgb", 1.0), ("grey", 1.0), ("y", 219 / 255)])
def test_equal_errors_of_the_three_channels(channel, factor):
  """An error of 10 in each channel is one of 10 in grey, and of 219/255 times that in MATLAB's luma."""
  real = RNG.integers(20, 200, (2, 5, 6, 3))
  assert score(Psnr(channel=channel), real + 10, real).value == pytest.approx(20 * np.log10(255 / (10 * factor)))


def test_luma_of_the_primary_colors():
  """MATLAB documents its range as 16 to 235; the primaries are those of ITU-R BT.601."""
  colors = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
  np.testing.assert_allclose(Psnr(channel="y").planes(colors).ravel(), [235, 16, 81.481, 144.553, 40.966], atol=1e-9)


def test_a_border_is_cut_off_every_side():
  real = np.full((2, 8, 9, 1), 50)
  fake = real + 2
  fake[:, :2] = fake[:, -2:] = fake[:, :, :2] = fake[:, :, -2:] = 255
  assert score(Psnr(border=2), fake, real).value == pytest.approx(20 * np.log10(255 / 2))
  with pytest.raises(ValueError, match="a border of 4 leaves nothing of 8x9 pixels; set a smaller border"):
    score(Psnr(border=4), fake, real)


def test_only_pixels_in_the_hole_count_and_whole_pictures_on_request():
  """An error of 10 in a hole of 4x4, of 50 in one pixel beside it; a third picture has no hole and is left out."""
  real = np.full((3, 8, 8, 3), 100)
  fake, holes = real.copy(), np.zeros((3, 8, 8), bool)
  holes[:2, 2:6, 2:6] = True
  fake[holes] += 10
  fake[:, 0, 0] += 50
  result = score(Psnr(), fake, real, holes)
  assert result.value == pytest.approx(20 * np.log10(255 / 10)) and result.method.endswith("over 2 pairs")
  whole = [10 * np.log10(255**2 * 64 / (error + 50**2)) for error in (1600, 1600, 0)]
  assert score(Psnr(hole=False), fake, real, holes).value == pytest.approx(np.mean(whole))
  fake[:, 2] = 0  # a line of the hole that the border cuts off
  assert score(Psnr(border=3), fake, real, holes).value == pytest.approx(20 * np.log10(255 / 10))
  with pytest.raises(ValueError, match="no picture has a hole that counts; set hole False"):
    score(Psnr(), fake, real, np.zeros((3, 8, 8), bool))


def test_the_mean_of_several_draws_is_scored():
  """Errors of 8, -4 and 2 around the image have a mean of 2; a fourth draw is not asked for."""
  real = np.full((2, 5, 6, 3), 100)
  draws = np.stack([real + error for error in (8, -4, 2, 90)]).astype(np.uint8)
  both = samples(real), samples(draws[0], draws=draws)
  assert Psnr(draws=3)(*both, 0)["psnr"].value == pytest.approx(20 * np.log10(255 / 2))
  assert Psnr()(*both, 0)["psnr"].value == pytest.approx(20 * np.log10(255 / 8))
  assert Psnr(draws=3)(samples(real), samples(draws[0]), 0)["psnr"].value == pytest.approx(20 * np.log10(255 / 8))
  with pytest.raises(ValueError, match="draws=0 must be 1 or more"):
    Psnr(draws=0)


def test_diversity_is_the_mean_distance_of_all_pairs_of_draws():
  """Levels 0, 30 and 90 lie 30, 60 and 90 apart, the second picture's half as far; in a hole, only its pixels count."""
  draws = np.zeros((4, 2, 6, 6, 1), np.uint8)
  for level, draw in zip((0, 30, 90, 255), draws, strict=True):
    draw[0], draw[1] = level, level // 2
  fake = samples(draws[0], draws=draws)
  result = Diversity(draws=3)(samples(draws[0]), fake, 0)["diversity"]
  assert result.value == pytest.approx((60 + 30) / 2) and "2 inputs of 3 draws" in result.method
  assert Diversity(draws=4)(samples(draws[0]), fake, 0)["diversity"].value > 60
  holes = np.zeros((2, 6, 6), bool)
  holes[:, 2:4, 2:4] = True
  draws[:, ~holes] = 7  # what is known
  fake = samples(draws[0], holes, draws)
  assert Diversity(draws=3)(samples(draws[0]), fake, 0)["diversity"].value == pytest.approx(45)
  whole = Diversity(draws=3, hole=False)(samples(draws[0]), fake, 0)["diversity"]
  assert whole.value == pytest.approx(45 * np.sqrt(4 / 36))
  one_pixel = Diversity(draws=3, hole=False, border=2)(samples(draws[0]), fake, 0)["diversity"]
  assert one_pixel.value == pytest.approx(45)
  with pytest.raises(ValueError, match="draws=1 must be 2 or more"):
    Diversity(draws=1)


def test_ssim_of_a_hole_is_the_mean_over_the_windows_around_its_pixels():
  real, fake = map(np.asarray, pair(20, 17, 1))
  holes = RNG.uniform(size=(2, 20, 17)) < 0.3
  expected = []
  for x, y, hole in zip(fake, real, holes, strict=True):
    places = [(i, j) for i in range(5, 15) for j in range(5, 12) if hole[i, j]]
    windows = [by_windows(*(z[i - 5 : i + 6, j - 5 : j + 6, 0].astype(float) for z in (x, y)))[0] for i, j in places]
    expected.append(np.mean(windows))
  assert score(Ssim(), fake, real, holes).value == pytest.approx(np.mean(expected), rel=1e-9)
  assert np.isnan(similarity(fake[0], real[0], np.zeros((20, 17), bool))).all()
  with pytest.raises(ValueError, match="ms_ssim compares whole pictures; set hole False, or take ssim"):
    score(MultiScaleSsim(), fake, real, holes)


def test_what_cannot_be_compared_is_refused():
  with pytest.raises(ValueError, match='channel="Y" is not one of rgb, y, grey'):
    Psnr(channel="Y")
  grey = np.zeros((2, 4, 4, 1))
  with pytest.raises(ValueError, match='channel="y" is made of 3 channels and the pictures have 1; use rgb'):
    score(Psnr(channel="y"), grey, grey)
  with pytest.raises(ValueError, match="are no pairs"):
    score(Psnr(), grey, np.zeros((3, 4, 4, 1)))
  with pytest.raises(ValueError, match="the window of 11x11 does not fit in 10x40 pixels"):
    score(Ssim(), *[np.zeros((2, 10, 40, 1))] * 2)
  with pytest.raises(ValueError, match="5 scales need 161x161 pixels, not 160x200; take ssim"):
    score(MultiScaleSsim(), *[np.zeros((2, 160, 200, 1))] * 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_equals_scikit_image(channels):
  metrics = pytest.importorskip("skimage.metrics")
  real, fake = pair(channels=channels)
  options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
  values = [metrics.structural_similarity(x, y, channel_axis=2, **options) for x, y in zip(fake, real, strict=True)]
  assert score(Ssim(), fake, real).value == pytest.approx(np.mean(values), abs=1e-12)


def by_windows(x, y):
  """SSIM and its structure, window by window (Wang et al. 2004, Eqs. 13 to 16), [H, W]."""
  offsets = np.arange(-5, 6)
  weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
  weights /= weights.sum()
  wholes, structures = [], []
  for i in range(x.shape[0] - 10):
    for j in range(x.shape[1] - 10):
      a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
      mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
      spread = (weights * ((a - mean_a) ** 2 + (b - mean_b) ** 2)).sum()
      together = (weights * (a - mean_a) * (b - mean_b)).sum()
      structures.append((2 * together + 7.65**2) / (spread + 7.65**2))
      wholes.append(structures[-1] * (2 * mean_a * mean_b + 2.55**2) / (mean_a**2 + mean_b**2 + 2.55**2))
  return np.mean(wholes), np.mean(structures)


def test_ssim_equals_a_loop_over_its_windows():
  real, fake = pair(14, 13, 1)
  x, y = fake[0].astype(float), real[0].astype(float)
  np.testing.assert_allclose(similarity(x, y), by_windows(x[..., 0], y[..., 0]), rtol=1e-10)


def test_equal_pictures_have_similarity_1_and_inverted_ones_less_than_0():
  real, _ = pair()
  assert score(Ssim(), real, real).value == pytest.approx(1.0)
  assert score(Ssim(), 255 - real, real).value < 0


def test_ms_ssim_weighs_the_structure_of_five_scales():
  """With the exponents of Wang et al. 2003 on each scale by itself; an odd side repeats its last pixel."""
  real, fake = pair(170, 161, 1, noise=60)
  x, y = fake[0].astype(float), real[0].astype(float)
  terms = []
  for scale in range(5):
    if scale:
      x, y = (np.pad(z, ((0, z.shape[0] % 2), (0, z.shape[1] % 2), (0, 0)), mode="symmetric") for z in (x, y))
      x, y = ((z[::2, ::2] + z[1::2, ::2] + z[::2, 1::2] + z[1::2, 1::2]) / 4 for z in (x, y))
    terms.append(similarity(x, y)[0 if scale == 4 else 1])
  expected = np.prod([term**weight for term, weight in zip(terms, WEIGHTS, strict=True)])
  assert multi_scale(fake[0].astype(float), real[0].astype(float)) == pytest.approx(expected, rel=1e-12)
  assert sum(WEIGHTS) == pytest.approx(1.0, abs=2e-4)
  assert score(MultiScaleSsim(), real, real).value == pytest.approx(1.0)
  assert score(MultiScaleSsim(), 255 - real, real).value == 0.0


def test_halving_averages_blocks():
  x = np.arange(12.0).reshape(3, 4, 1)
  np.testing.assert_allclose(halved(x)[..., 0], [[2.5, 4.5], [8.5, 10.5]])
