"""The kernel distance against a double loop, its closed form for Gaussians, and torch-fidelity."""

import numpy as np
import pytest

from common.evaluation.metrics.kernel_distance import KernelDistance, squared_mmd, torch_fidelity_mmds
from common.evaluation.metrics.score import SampleSet
from tests.common.evaluation.metrics import torch_fidelity

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(23, 5)), 1.3 * RNG.normal(size=(31, 5)) + 0.2


def samples(rows):
  return SampleSet(images=np.zeros((len(rows), 1, 1, 1), np.uint8), features=rows)


def double_loop(x, y):
  """The unbiased estimate, pair by pair (Gretton et al. 2012, Eq. 3)."""

  def kernel(a, b):
    return (np.dot(a, b) / len(a) + 1) ** 3

  n, m = len(x), len(y)
  within_x = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
  within_y = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
  return within_x + within_y - 2 * sum(kernel(a, b) for a in x for b in y) / (n * m)


def expected_kernel(a, cov_a, b, cov_b):
  """E (x.y / d + 1)^3 of independent x ~ N(a, A) and y ~ N(b, B)."""
  d, ab = len(a), a @ b
  squares = a @ cov_b @ a + b @ cov_a @ b + np.trace(cov_a @ cov_b)
  cubes = ab**3 + 3 * ab * (b @ cov_a @ b) + 3 * (ab * (a @ cov_b @ a + np.trace(cov_a @ cov_b)))
  cubes += 6 * (a @ cov_b @ cov_a @ b)
  return 1 + 3 * ab / d + 3 * (ab**2 + squares) / d**2 + cubes / d**3


def gaussians(dim, seed):
  rng = np.random.default_rng(seed)
  roots = [rng.normal(size=(dim, dim)) / np.sqrt(dim) for _ in range(2)]
  return rng.normal(size=(2, dim)), roots


def closed_form(means, roots):
  covs = [root.T @ root for root in roots]
  k = [[expected_kernel(means[i], covs[i], means[j], covs[j]) for j in range(2)] for i in range(2)]
  return k[0][0] + k[1][1] - 2 * k[0][1]


@pytest.mark.parametrize("block", [1024, 7, 1])
def test_equals_a_double_loop(block):
  np.testing.assert_allclose(squared_mmd(X, Y, block)[0], double_loop(X, Y), rtol=1e-10)
  np.testing.assert_allclose(squared_mmd(Y, X, block)[0], double_loop(X, Y), rtol=1e-10)


def test_the_jackknife_leaves_rows_out():
  """Its sums against estimates that are computed anew without each row."""
  without = [[squared_mmd(np.delete(X, i, 0), Y)[0] for i in range(23)]]
  without += [[squared_mmd(X, np.delete(Y, i, 0))[0] for i in range(31)]]
  expected = np.sqrt(sum((len(values) - 1) * np.var(values) for values in without))
  np.testing.assert_allclose(squared_mmd(X, Y)[1], expected, rtol=1e-9)


@pytest.mark.parametrize("dim", [1, 4])
def test_many_samples_reach_the_closed_form_of_gaussians(dim):
  means, roots = gaussians(dim, seed=dim)
  rng = np.random.default_rng(1)
  value, error = squared_mmd(*(m + rng.normal(size=(3000, dim)) @ root for m, root in zip(means, roots, strict=True)))
  assert error < 0.1 * closed_form(means, roots)
  assert abs(value - closed_form(means, roots)) < 4 * error


@pytest.mark.parametrize("equal", [False, True])
def test_five_samples_are_unbiased(equal):
  """Also where the distributions are one: then it is 0 on average and below 0 half of the time, unlike Frechet's."""
  means, roots = gaussians(3, seed=5)
  if equal:
    means, roots = [means[0], means[0]], [roots[0], roots[0]]
  rng = np.random.default_rng(2)
  found = [
    squared_mmd(*(m + rng.normal(size=(5, 3)) @ root for m, root in zip(means, roots, strict=True)))[0]
    for _ in range(8000)
  ]
  exact, error = closed_form(means, roots), np.std(found) / np.sqrt(len(found))
  assert abs(np.mean(found) - exact) < 4 * error
  if equal:
    assert abs(exact) < 1e-12 and np.mean(np.array(found) < 0) > 0.4
  else:
    assert exact > 5 * error


def test_the_error_is_the_spread_over_redraws():
  rng = np.random.default_rng(3)
  found = np.array([squared_mmd(rng.normal(size=(100, 4)), 1.2 * rng.normal(size=(150, 4)) + 0.4) for _ in range(300)])
  spread = np.std(found[:, 0], ddof=1)
  assert 0.9 < np.sqrt(np.mean(found[:, 1] ** 2)) / spread < 1.2


def test_float32_features_are_summed_in_float64():
  rows = [(1000 + RNG.normal(size=(50, 4))).astype(np.float32) for _ in range(2)]
  expected = double_loop(*(r.astype(np.float64) for r in rows))
  found = KernelDistance()(samples(rows[0]), samples(rows[1]), 0)["kernel_distance"].value
  np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("case", torch_fidelity.CASES, ids=lambda case: case.name)
def test_equals_torch_fidelity(case):
  real, fake = case.features()
  metric = KernelDistance("torch_fidelity", subset_size=case.subset_size)
  score = metric(samples(real), samples(fake), 0)["kernel_distance"]
  np.testing.assert_allclose([score.value, score.standard_error], case.kid, atol=1e-6, rtol=0)
  assert score.method == f"standard deviation of 100 subsets of {case.subset_size}, not of their mean"
  exact = KernelDistance()(samples(real), samples(fake), 0)["kernel_distance"]
  assert abs(exact.value - case.kid[0]) < case.kid[1]


def test_torch_fidelitys_subsets_are_estimates_of_that_size():
  """All rows in another order: each round is the double loop."""
  np.testing.assert_allclose(torch_fidelity_mmds(X, Y[:23], 3, 23), np.full(3, double_loop(X, Y[:23])), rtol=1e-9)


@pytest.mark.parametrize(
  ("metric", "real", "message"),
  [
    (KernelDistance("torch_fidelity"), X, "23 real samples are too few: with these settings it takes 1000 or more"),
    (KernelDistance(), X[:2], "2 real samples"),
    (KernelDistance(), X * np.nan, "23 of 23 real features are not finite"),
    (KernelDistance(), X[:, :4], "features of 4 and 5 numbers"),
  ],
)
def test_samples_that_have_no_distance(metric, real, message):
  with pytest.raises(ValueError, match=message):
    metric(samples(real), samples(Y), 0)


def test_a_set_has_no_distance_to_itself():
  """The estimate of sets that are one is below 0, with an interval that did not hold 0."""
  value, error = squared_mmd(X, X)
  assert value + 1.96 * error < 0.0
  for fake in (X, X[::-1], X[:10], np.concatenate([X, Y])):
    with pytest.raises(ValueError, match="pictures of one set are in the other.*leave it out, or score other"):
      KernelDistance()(samples(X), samples(fake), 0)
  some = KernelDistance()(samples(X), samples(np.concatenate([X[:3], Y])), 0)["kernel_distance"]
  assert some.method == "jackknife over the samples of both sets, 3 of them in both"
  collapsed = np.repeat(X[:1], 30, axis=0)  # copies of one picture, of which one is in the other set
  assert KernelDistance()(samples(X), samples(collapsed), 0)["kernel_distance"].value > 0.0


def test_settings_that_make_no_sense():
  with pytest.raises(ValueError, match='mode="kid" is not one of'):
    KernelDistance("kid")
  with pytest.raises(ValueError, match="subsets=0 of subset_size=1000"):
    KernelDistance(subsets=0)
