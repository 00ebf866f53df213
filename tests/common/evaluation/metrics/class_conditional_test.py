"""Frechet distances within classes, and how often a classifier agrees with the labels."""

import numpy as np
import pytest

from common.evaluation.metrics.class_conditional import IntraFrechet, LabelAgreement
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
  return frechet_distance(*(Moments.of(rows).gaussian() for rows in (a, b)))


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
  with pytest.raises(ValueError, match="groups=1"):
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
