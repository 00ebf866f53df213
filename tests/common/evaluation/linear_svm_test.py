"""The L2-SVM against the optima of scipy and scikit-learn for the loss written out; the choice of its weight decay."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from common.evaluation.linear_svm import CONVERGED, choose, fit, predict, standard_of

CLASSES, DIM = 3, 7


def examples(count, seed):
  """Overlapping clusters whose features have different scales, one of them constant; float16 holds them exactly."""
  rng = np.random.default_rng(seed)
  labels = rng.integers(CLASSES, size=count)
  x = 2.0 * np.eye(DIM)[labels] + 1.6 * rng.normal(size=(count, DIM))
  x = x * np.geomspace(0.1, 30.0, DIM) + 5.0
  x[:, 3] = 4.0
  return x.astype(np.float16), labels.astype(np.int32)


def parts(x, labels, size=500):
  return [(jnp.asarray(x[i : i + size]), jnp.asarray(labels[i : i + size])) for i in range(0, len(x), size)]


TRAIN = examples(1300, 0)


def standardised(x):
  deviation = np.std(TRAIN[0], axis=0, dtype=np.float64)
  return (x - np.mean(TRAIN[0], axis=0, dtype=np.float64)) / np.where(deviation == 0.0, 1.0, deviation)


def fitted(weight_decay, start=None):
  start = np.zeros((CLASSES, DIM + 1)) if start is None else start
  return fit(parts(*TRAIN), standard_of(parts(*TRAIN)), weight_decay, start)


def loss(weights, weight_decay):
  """The loss of ``weights`` [K, D + 1] in float64, and its gradient."""
  x, y = np.pad(standardised(TRAIN[0]), ((0, 0), (0, 1)), constant_values=1.0), 2.0 * np.eye(CLASSES)[TRAIN[1]] - 1.0
  slack = np.maximum(0.0, 1.0 - y * (x @ weights.T))
  decayed = weight_decay * weights * (np.arange(DIM + 1) < DIM)
  return np.sum(slack**2) / len(x) + 0.5 * np.sum(decayed * weights), decayed - 2.0 * (slack * y).T @ x / len(x)


@pytest.mark.parametrize("weight_decay", [1.0, 1e-3])
def test_the_optimum_is_that_of_the_loss_as_written(weight_decay):
  def flat(w):
    value, gradient = loss(w.reshape(CLASSES, -1), weight_decay)
    return value, gradient.ravel()

  best = minimize(flat, np.zeros(CLASSES * (DIM + 1)), jac=True, method="BFGS", options={"gtol": 1e-9})
  ours = fitted(weight_decay)
  assert ours.gradient_ratio <= CONVERGED
  assert loss(np.float64(ours.weights), weight_decay)[0] == pytest.approx(best.fun, rel=1e-5)
  np.testing.assert_allclose(np.ravel(ours.weights), best.x, atol=3e-3 * np.abs(best.x).max())
  from_there = fitted(weight_decay, 0.9 * ours.weights)
  np.testing.assert_allclose(from_there.weights, ours.weights, atol=5e-3)


def test_the_optimum_is_that_of_scikit_learn():
  svm = pytest.importorskip("sklearn.svm", reason="scikit-learn of the extra [dev] is not installed")
  # LinearSVC penalises b as well, divided by the square of this scaling.
  theirs = svm.LinearSVC(C=1.0 / (0.01 * len(TRAIN[0])), dual=False, intercept_scaling=100.0, tol=1e-8)
  theirs.fit(standardised(TRAIN[0]), TRAIN[1])
  best = loss(np.column_stack([theirs.coef_, theirs.intercept_]), 0.01)[0]
  assert loss(np.float64(fitted(0.01).weights), 0.01)[0] == pytest.approx(best, rel=1e-4)


def test_other_examples_are_standardised_like_the_training_examples():
  weights, (other, truth) = fitted(0.01).weights, examples(1100, 1)
  classes = predict(weights, standard_of(parts(*TRAIN)), parts(other, truth))
  expected = standardised(other) @ np.asarray(weights[:, :-1]).T + np.asarray(weights[:, -1])
  np.testing.assert_array_equal(classes, np.argmax(expected, axis=1))
  assert np.mean(classes == truth) > 0.6


def test_the_weight_decay_is_chosen_on_validation():
  standard, other = standard_of(parts(*TRAIN)), parts(*examples(400, 2))
  best, tried = choose(parts(*TRAIN), standard, other, CLASSES, (1e4, 0.1, 1e-3, 1e-9))
  accuracies = list(tried.values())
  assert accuracies[0] < max(accuracies) and len(tried) < 4  # it stops where the accuracy no longer rises
  assert np.mean(predict(best.weights, standard, other) == examples(400, 2)[1]) == pytest.approx(max(accuracies))
