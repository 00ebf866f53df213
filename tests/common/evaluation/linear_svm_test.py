"""The L2-SVM against scipy's minimum of the same loss, written out; and the choice of its weight decay."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from common.evaluation.linear_svm import CHUNK, CONVERGED, choose, fit, predict, tabulate

CLASSES, DIM = 3, 7


def examples(count, seed, spread=1.6):
  """Overlapping clusters, features of unlike scales and one that is constant; float16 holds them exactly."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(CLASSES, size=count)
  x = 2.0 * np.eye(DIM)[labels] + spread * rng.normal(size=(count, DIM))
  x = x * np.geomspace(0.1, 30.0, DIM) + 5.0
  x[:, 3] = 4.0
  return x.astype(np.float16).astype(np.float32), labels.astype(np.int32)


def table(x, labels):
  return tabulate((x[start : start + CHUNK] for start in range(0, len(x), CHUNK)), labels, DIM)


@pytest.fixture(scope="module")
def train():
  return examples(CHUNK + 300, 0)


@pytest.mark.parametrize("weight_decay", [1.0, 1e-3])
def test_the_optimum_is_that_of_the_loss_as_written(train, weight_decay):
  x, labels = train
  deviation = np.std(x, axis=0, dtype=np.float64)
  standard = (x - np.mean(x, axis=0, dtype=np.float64)) / np.where(deviation == 0.0, 1.0, deviation)
  found = fit(table(x, labels), CLASSES, jnp.float32(weight_decay), jnp.zeros((DIM + 1, CLASSES)))
  assert found.ratio <= CONVERGED

  for k in range(CLASSES):
    y = np.where(labels == k, 1.0, -1.0)

    def loss(w, y=y):
      slack = np.maximum(0.0, 1.0 - y * (standard @ w[:-1] + w[-1]))
      slope = -2.0 * np.mean(np.c_[standard, np.ones(len(y))] * (slack * y)[:, None], axis=0)
      decay = weight_decay * np.r_[w[:-1], 0.0]
      return 0.5 * weight_decay * np.sum(w[:-1] ** 2) + np.mean(slack**2), slope + decay

    best = minimize(loss, np.zeros(DIM + 1), jac=True, method="BFGS", options={"gtol": 1e-9})
    ours = np.asarray(found.weights[:, k], np.float64)
    assert loss(ours)[0] <= best.fun * (1.0 + 1e-5)
    np.testing.assert_allclose(ours, best.x, atol=2e-3 * np.abs(best.x).max())


def test_the_start_does_not_matter_but_for_the_passes(train):
  rows = table(*train)
  cold = fit(rows, CLASSES, jnp.float32(0.1), jnp.zeros((DIM + 1, CLASSES)))
  warm = fit(rows, CLASSES, jnp.float32(0.1), cold.weights)
  assert warm.passes < cold.passes and warm.ratio <= CONVERGED
  np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-2)


def test_predictions_are_of_examples_only(train):
  """Padding is neither learned from nor named, and other examples are standardised as the first."""
  rows, (x, _) = table(*train), train
  weights = fit(rows, CLASSES, jnp.float32(0.01), jnp.zeros((DIM + 1, CLASSES))).weights
  other, truth = examples(200, 1)
  said = predict(weights, table(other, truth), rows)
  deviation = np.std(x, axis=0)
  standard = (other - np.mean(x, axis=0)) / np.where(deviation == 0.0, 1.0, deviation)
  assert said.shape == (200,)
  np.testing.assert_array_equal(said, np.argmax(standard @ np.asarray(weights[:-1]) + weights[-1], axis=1))
  assert np.mean(said == truth) > 0.6


def test_the_weight_decay_is_chosen_on_validation(train):
  rows, other = table(*train), table(*examples(400, 2))
  chosen = choose(rows, other, CLASSES, (1e4, 0.1, 1e-3, 1e-9))
  tried = list(chosen.tried.values())
  assert chosen.tried[chosen.weight_decay] == max(tried) and tried[0] < max(tried)
  again = np.mean(predict(chosen.fit.weights, other, rows) == examples(400, 2)[1])
  assert again == pytest.approx(max(tried))


def test_features_beyond_float16_are_an_error():
  with pytest.raises(ValueError, match="1 of 7 features are beyond"):
    table(np.full((10, DIM), 1e5, np.float32) * np.eye(DIM)[2], np.zeros(10, np.int32))
