"""Retrieval by hand, its chance level, ties, and what counts as a sibling."""

import numpy as np
import pytest

from common.evaluation.metrics import retrieval
from common.evaluation.metrics.retrieval import Retrieval, distances
from common.evaluation.metrics.score import SampleSet

CAPTIONS = ["man pilot: dark skin tone", "Man pilot", "cat", "man pilot: medium-dark skin tone", "woman pilot"]


def samples(values, captions=None):
  """Pictures of one pixel."""
  images = np.asarray(values, np.uint8).reshape(-1, 1, 1, 1)
  return SampleSet(images, np.zeros((len(images), 0)), captions=captions)


def test_distances_are_exact():
  """Also above 2^24, from where float32 lacks odd numbers."""
  x, y = (np.random.default_rng(i).integers(0, 256, (count, 32, 32, 3), np.uint8) for i, count in enumerate((3, 7)))
  expected = np.sum((x[:, None].astype(int) - y.astype(int)) ** 2, axis=(2, 3, 4))
  np.testing.assert_array_equal(distances(x, y), expected)
  assert np.all(np.diag(distances(x, x)) == 0)


@pytest.mark.parametrize("block", [1, 512])
def test_shares_by_hand(monkeypatch, block):
  """The first is nearest to the woman, but of its siblings to its own; the second to a sibling; the cat has none."""
  monkeypatch.setattr(retrieval, "_BLOCK", block)
  scores = Retrieval()(samples([10, 50, 100, 200, 22], CAPTIONS), samples([20, 180, 99]), 0)
  assert scores["recall_at_1"].value == pytest.approx(1 / 3)
  assert scores["sibling_accuracy"].value == pytest.approx(1 / 2)
  assert (scores["recall_at_1"].trials, scores["sibling_accuracy"].trials) == (3, 2)


def test_siblings_differ_in_the_attribute_alone():
  bases = Retrieval()._bases(CAPTIONS)
  np.testing.assert_array_equal(bases, [0, 0, 1, 0, 2])
  np.testing.assert_array_equal(Retrieval(attribute=r"\b(wo)?man\b")._bases(CAPTIONS), [0, 1, 2, 3, 1])
  couples = ["kiss: man, dark skin tone, light skin tone", "kiss: man", "woman: light skin tone, red hair"]
  np.testing.assert_array_equal(Retrieval()._bases(couples), [0, 0, 1])
  scores = Retrieval(attribute="zebra")(samples([1, 9, 30, 60, 90], CAPTIONS), samples([1, 9]), 0)
  assert set(scores) == {"recall_at_1"}  # no picture has siblings


def test_a_picture_that_the_set_has_twice_is_not_found():
  scores = Retrieval()(samples([10, 10, 100, 200, 22], CAPTIONS), samples([10, 50]), 0)
  assert scores["recall_at_1"].value == scores["sibling_accuracy"].value == 0.0


def test_what_cannot_be_measured_is_refused():
  with pytest.raises(ValueError, match=r'attribute="\(" is not a regular expression'):
    Retrieval(attribute="(")
  with pytest.raises(ValueError, match="each real picture needs a caption"):
    Retrieval()(samples([1, 2]), samples([1, 2]), 0)
