"""Frechet distances within classes, agreement of labels, and a classifier that is trained on generated pictures."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from common.errors import ConfigError
from common.evaluation.metrics.class_conditional import (
  IntraFrechet,
  LabelAgreement,
  LinearClassificationAccuracy,
  linear_classifier,
)
from common.evaluation.metrics.frechet import FrechetDistance, Moments, frechet_distance
from common.evaluation.metrics.score import SampleSet

RNG = np.random.default_rng(0)


def samples(features, labels=None, logits=None):
  labels = None if labels is None else np.asarray(labels, np.int32)
  return SampleSet(np.zeros((len(features), 1, 1, 1), np.uint8), np.asarray(features, np.float32), logits, labels)


def clusters(count, seed, spread=1.0, dim=6, classes=3):
  rng = np.random.default_rng(seed)
  labels = rng.integers(classes, size=count)
  return samples(4 * np.eye(dim)[labels] + spread * rng.normal(size=(count, dim)), labels)


def distance(a, b):
  fitted = []
  for rows in (a, b):
    moments = Moments(rows.shape[1])
    moments.add(rows)
    fitted.append(moments.gaussian())
  return frechet_distance(*fitted)


def test_intra_frechet_is_the_mean_over_classes():
  """Of unequal sizes too: a class counts as one."""
  real, fake = clusters(300, 1), clusters(200, 2, spread=1.5)
  found = IntraFrechet(groups=4)(real, fake, 0)["intra_frechet"]
  parts = [(real.features[real.labels == k], fake.features[fake.labels == k]) for k in range(3)]
  np.testing.assert_allclose(found.value, np.mean([distance(*part) for part in parts]), rtol=1e-8)
  errors = [FrechetDistance(groups=4)(samples(a), samples(b), 0)["frechet"].standard_error for a, b in parts]
  np.testing.assert_allclose(found.standard_error, np.sqrt(np.sum(np.square(errors))) / 3, rtol=1e-8)
  fewest = min(np.bincount(fake.labels))
  assert found.method == f"jackknife over 4 groups within each of 3 classes of {fewest} or more"


def test_swapped_labels_are_seen_within_classes_only():
  real, fake = clusters(400, 1), clusters(400, 2)
  swapped = samples(fake.features, (fake.labels + 1) % 3)
  right, wrong = (IntraFrechet()(real, each, 0)["intra_frechet"] for each in (fake, swapped))
  assert wrong.value > right.value + 5 * wrong.standard_error
  np.testing.assert_allclose(wrong.value - right.value, 32.0, rtol=0.1)  # |4 e_i - 4 e_j|^2
  assert FrechetDistance()(real, fake, 0) == FrechetDistance()(real, swapped, 0)


def test_a_class_that_is_missing_is_an_error():
  real, fake = clusters(100, 1), clusters(100, 2)
  with pytest.raises(ValueError, match="0 generated pictures of class 2 are fewer than 10"):
    IntraFrechet()(real, samples(fake.features[fake.labels < 2], fake.labels[fake.labels < 2]), 0)
  with pytest.raises(ValueError, match="0 real pictures of class 2 are fewer than 10"):
    IntraFrechet()(samples(real.features[real.labels < 2], real.labels[real.labels < 2]), fake, 0)
  with pytest.raises(ValueError, match="the generated pictures have no labels"):
    IntraFrechet()(real, samples(fake.features), 0)
  with pytest.raises(ConfigError, match="groups=1"):
    IntraFrechet(groups=1)


@pytest.mark.parametrize("wrong", [0, 17, 50])
def test_agreement_counts_the_planted_mistakes(wrong):
  labels = RNG.integers(10, size=50)
  said = np.where(np.arange(50) < wrong, (labels + 3) % 10, labels)
  truth = RNG.integers(10, size=40)
  logits = [
    np.float32(7 * np.eye(10)[rows] - 3) for rows in (said, np.where(np.arange(40) < 4, (truth + 1) % 10, truth))
  ]
  found = LabelAgreement()(samples(logits[1], truth, logits[1]), samples(logits[0], labels, logits[0]), 0)
  assert found["label_agreement"].value == (50 - wrong) / 50 and found["label_agreement_real"].value == 0.9
  assert found["label_agreement"].standard_error > 0
  assert found["label_agreement"].method == "binomial over 50 generated pictures"


def test_labels_of_another_classifier_are_an_error():
  good = samples(np.eye(3), range(3), np.eye(3))
  with pytest.raises(ValueError, match="labels up to 5 are not of a classifier of 3 classes"):
    LabelAgreement()(good, samples(np.eye(3), [0, 1, 5], np.eye(3)), 0)
  with pytest.raises(ValueError, match="the real pictures have no logits"):
    LabelAgreement()(samples(np.eye(3), range(3)), good, 0)
  with pytest.raises(ValueError, match="must be whole numbers of 0 or more"):
    LabelAgreement()(good, samples(np.eye(3), [0, 1, -1], np.eye(3)), 0)


def objective(x, labels, decay, classes):
  """Loss and gradient by hand in float64, for scipy."""
  ones = np.concatenate([x, np.ones((len(x), 1))], axis=1)

  def value(flat):
    w = flat.reshape(-1, classes)
    log_p = log_softmax(ones @ w, axis=1)
    gradient = ones.T @ (np.exp(log_p) - np.eye(classes)[labels]) / len(x)
    gradient[:-1] += decay * w[:-1]
    return -np.mean(log_p[np.arange(len(x)), labels]) + 0.5 * decay * np.sum(w[:-1] ** 2), gradient.ravel()

  return value


@pytest.mark.parametrize(("spread", "decay"), [(3.0, 1e-4), (3.0, 0.1), (0.2, 1e-4)])
def test_the_regression_is_at_the_optimum_of_scipys(spread, decay):
  """Also where the classes can be told apart, and only the decay keeps the weights finite."""
  data = clusters(300, 3, spread=spread)
  weights, converged = linear_classifier(data.features, data.labels, 3, decay)
  value = objective(data.features.astype(float), data.labels, decay, 3)
  best = minimize(
    value, np.zeros(7 * 3), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 0, "gtol": 1e-9}
  )
  assert converged
  assert value(weights.ravel().astype(float))[0] - best.fun < 1e-6
  expected = best.x.reshape(7, 3)
  scale = np.abs(expected).max()
  np.testing.assert_allclose(
    weights - weights.mean(1, keepdims=True), expected - expected.mean(1, keepdims=True), atol=5e-3 * scale
  )


def test_the_accuracy_is_that_of_the_best_line():
  """Two unit normals 2 apart: the best classifier is right with probability Phi(1) = 0.8413, and so is this one."""

  def pair(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=4000)
    x = rng.normal(size=(4000, 3)) * [1.0, 5.0, 0.1]
    x[:, 0] += 2.0 * labels
    return samples(x + 100.0, labels)

  found = LinearClassificationAccuracy()(pair(0), pair(1), 0)["linear_classification_accuracy"]
  assert abs(found.value - 0.8413) < 4 * found.standard_error
  np.testing.assert_allclose(found.standard_error, np.sqrt(0.8413 * 0.1587 / 4000), rtol=0.05)
  assert found.method == "binomial over 4000 real pictures, logistic regression on 4000 generated"


def test_it_sees_classes_that_the_model_has_not_or_mixes_up():
  real = clusters(600, 1, spread=0.5, classes=5)
  fake = clusters(600, 2, spread=0.5, classes=5)
  metric = LinearClassificationAccuracy()
  right = metric(real, fake, 0)["linear_classification_accuracy"].value
  assert right > 0.99
  kept = fake.labels != 2
  missing = metric(real, samples(fake.features[kept], fake.labels[kept]), 0)["linear_classification_accuracy"].value
  np.testing.assert_allclose(missing, right - np.mean(real.labels == 2), atol=0.01)
  swapped = samples(fake.features, np.array([1, 0, 2, 3, 4])[fake.labels])
  found = metric(real, swapped, 0)["linear_classification_accuracy"].value
  np.testing.assert_allclose(found, np.mean(real.labels > 1), atol=0.01)


def test_the_units_of_the_features_do_not_matter():
  """Weights that decay would see them, were the features not standardised."""
  real, fake = clusters(200, 1, spread=3.0), clusters(200, 2, spread=3.0)
  scaled = [samples(1024.0 * each.features * [1, 1 / 64, 1, 1, 8, 1] + 7.0, each.labels) for each in (real, fake)]
  metric = LinearClassificationAccuracy(weight_decay=1.0)
  plain = metric(real, fake, 0)["linear_classification_accuracy"]
  assert 0.5 < plain.value < 0.99
  np.testing.assert_allclose(metric(*scaled, 0)["linear_classification_accuracy"].value, plain.value, atol=0.006)


def test_a_feature_that_is_always_the_same_does_no_harm():
  real, fake = (clusters(200, seed) for seed in (1, 2))
  more = [samples(np.append(each.features, np.full((200, 1), 3.0), axis=1), each.labels) for each in (real, fake)]
  assert LinearClassificationAccuracy()(*more, 0) == LinearClassificationAccuracy()(real, fake, 0)


def test_what_cannot_be_trained_is_an_error():
  real, fake = clusters(50, 1), clusters(50, 2)
  with pytest.raises(ValueError, match="all of class 0; draw 2 classes"):
    LinearClassificationAccuracy()(real, samples(fake.features, np.zeros(50)), 0)
  with pytest.raises(ValueError, match="features of 6 and 5 numbers"):
    LinearClassificationAccuracy()(real, samples(fake.features[:, :5], fake.labels), 0)
  with pytest.raises(ValueError, match="not finite"):
    LinearClassificationAccuracy()(real, samples(fake.features * np.inf, fake.labels), 0)
  with pytest.raises(ConfigError, match="weight_decay=0.0 must be above 0"):
    LinearClassificationAccuracy(weight_decay=0.0)
