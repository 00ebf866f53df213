"""The chain of Real-ESRGAN beside the formulas and numbers of its authors' code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from common import random
from common.data.degradations import real_esrgan as chain

KEYS = random.row_keys(jax.random.key(0), jnp.arange(4000))


@pytest.fixture(scope="module")
def kernels():
  return np.asarray(jax.jit(lambda keys: chain.mixed_kernel(keys, chain.FIRST.sigma))(KEYS))


def test_kernels_have_sum_one_and_sizes_of_7_to_21(kernels):
  np.testing.assert_allclose(kernels.sum(axis=(1, 2)), 1.0, atol=1e-5)
  inside = np.array([np.abs(kernels[:, 10 - r : 11 + r, 10 - r : 11 + r]).sum(axis=(1, 2)) for r in range(11)])
  size = 1 + 2 * np.argmax(inside >= inside[-1] - 1e-7, axis=0)
  assert size.max() == 21 and kernels.shape == (4000, 21, 21)


def test_a_tenth_of_the_kernels_rings(kernels):
  assert abs((kernels.min(axis=(1, 2)) < -1e-6).mean() - chain.SINC) < 0.02


def test_kinds_have_their_formulas(monkeypatch):
  """Generalised: exp(-q^beta / 2); plateau: 1 / (1 + q^beta); q is the squared Mahalanobis distance."""
  draws = {"sigma x": 2.0, "sigma y": 1.0, "angle": 0.5, "cutoff": 1.0, "is sinc": 1.0}
  monkeypatch.setattr(chain, "_kernel_size", lambda keys: jnp.full(len(keys), 13))
  grid = np.stack(np.meshgrid(np.arange(-6, 7), np.arange(-6, 7)), axis=-1)
  turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
  for kind in range(6):
    for side, beta in ((0.4, 3.0), (0.6, 0.7)):
      values = {**draws, "side": side, "beta": beta}
      monkeypatch.setattr(chain, "uniform", lambda keys, name, *ends, values=values: jnp.full(len(keys), values[name]))
      monkeypatch.setattr(chain, "odds", lambda keys, name, weights, kind=kind: jnp.full(len(keys), kind))
      covariance = turn @ np.diag([4.0, 1.0]) @ turn.T if kind % 2 else 4.0 * np.eye(2)
      q = np.einsum("hwi,ij,hwj->hw", grid, np.linalg.inv(covariance), grid)
      plateau = beta if side < 0.5 else 1.0
      expected = [np.exp(-q / 2), np.exp(-(q**beta) / 2), 1 / (1 + q**plateau)][kind // 2]
      ours = np.asarray(chain.mixed_kernel(KEYS[:1], (0.2, 3.0)))[0]
      np.testing.assert_allclose(ours[4:17, 4:17], expected / expected.sum(), atol=1e-6)
      assert np.abs(ours).sum() == pytest.approx(1.0, abs=1e-5)


def test_factors_have_their_odds_and_ranges():
  for numbers, (up, down, keep) in ((chain.FIRST, (0.2, 0.7, 0.1)), (chain.SECOND, (0.3, 0.4, 0.3))):
    factor = np.asarray(jax.jit(lambda keys, numbers=numbers: chain._factor(keys, numbers))(KEYS))
    shares = [(factor > 1).mean(), (factor < 1).mean(), (factor == 1).mean()]
    np.testing.assert_allclose(shares, [up, down, keep], atol=0.03)
    low, high = numbers.factors
    for part, ends in ((factor[factor > 1], (1.0, high)), (factor[factor < 1], (low, 1.0))):
      assert stats.kstest(part, stats.uniform(ends[0], ends[1] - ends[0]).cdf).pvalue > 1e-3


def test_the_last_kernel_changes_nothing_in_a_fifth_of_the_images():
  kernels = np.asarray(jax.jit(chain.last_kernel)(KEYS))
  assert abs((kernels[:, 10, 10] == 1.0).mean() - 0.2) < 0.02
  np.testing.assert_allclose(kernels.sum(axis=(1, 2)), 1.0, atol=1e-5)


def test_levels_are_a_power_of_two():
  x = np.zeros((4, 16, 16, 1), np.float32)
  for row, count in enumerate((1, 2, 3, 200)):
    x[row].flat[:count] = np.arange(count) / 255
  np.testing.assert_array_equal(chain._levels(x), [1, 2, 4, 256])


def test_noise_is_half_gaussian_and_two_fifths_without_colour():
  x = jnp.full((1000, 8, 8, 3), 0.5).at[:, ::2].set(0.4)
  add = jax.jit(lambda x, keys: chain.noisy(x, jnp.full((1000, 2), 8), keys, chain.FIRST) - x)
  noise = np.asarray(add(x, KEYS[:1000]))
  np.testing.assert_array_equal(add(x, KEYS[:1000][::-1]), noise[::-1])
  without_color = (np.ptp(noise, axis=-1) < 1e-6).all(axis=(1, 2))
  assert abs(without_color.mean() - chain.GREY) < 0.05
  # Two levels: Poisson noise counts few photons, so that its values repeat.
  counted = np.array([len(np.unique(np.round(row[::2, :, 0], 5))) < 16 for row in noise])
  assert abs(counted.mean() - 0.5) < 0.05
  gaussian = 255 * noise[~counted].std(axis=(1, 2, 3))
  assert gaussian.min() < 3 and 26 < gaussian.max() < 34 and abs(gaussian.mean() - 15.5) < 1.5


def test_without_noise_a_row_depends_on_its_image_and_key_and_a_flat_one_stays_flat(monkeypatch):
  monkeypatch.setattr(chain, "noisy", lambda x, sizes, keys, numbers: x)
  x = np.random.RandomState(0).rand(16, 16, 24, 3).astype(np.float32)
  x[:12] = 0.4
  degrade = jax.jit(chain.RealEsrgan(4))
  done = np.asarray(degrade(x, KEYS[:16]))
  assert done.shape == (16, 4, 6, 3)
  # JPEG alone moves the grey level.
  assert np.ptp(done[:12], axis=(1, 2)).max() < 1e-6 and np.abs(done[:12] - 0.4).max() < 0.04
  order = np.array([*range(12, 16), *range(12)])
  np.testing.assert_array_equal(degrade(x[order], KEYS[order]), done[order])
