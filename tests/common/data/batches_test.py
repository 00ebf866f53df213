"""Batches that are read ahead are those that the index stream names."""

import itertools

import pytest

from common.data.batches import read_batches
from common.data.dataset import open_dataset
from common.data.stream import IndexStream
from tests.common.data.settings import data_config


@pytest.fixture(scope="module")
def train():
  return open_dataset(data_config(name="blobs", image_size=8, train_split="train[:50]")).train


@pytest.mark.parametrize("start", [0, 60])
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_read_batches_are_the_resident_rows(train, start, processes):
  """From any position, for any number of processes, and across the ends of epochs."""
  whole, size = train.arrays(), 12 // processes
  order = IndexStream(len(train), seed=5).indices(start, 120)
  for rows in (slice(p * size, (p + 1) * size) for p in range(processes)):
    batches = read_batches(train, IndexStream(len(train), seed=5), start=start, batch_size=12, rows=rows)
    for j, batch in enumerate(itertools.islice(batches, 10)):
      chosen = order[12 * j : 12 * j + 12][rows]
      assert (batch["image"] == whole["image"][chosen]).all() and (batch["label"] == whole["label"][chosen]).all()
      assert batch["index"].tolist() == list(range(12))[rows]


def test_an_error_in_a_thread_reaches_the_loop():
  class Broken:
    def rows(self, indices):
      raise OSError("disk gone")

  with pytest.raises(OSError, match="disk gone"):
    next(read_batches(Broken(), IndexStream(50, 0), start=0, batch_size=4, rows=slice(None)))
