import itertools

import numpy as np
import pytest

from common.data.dataset import open_dataset
from common.data.stream import IndexStream
from common.data.stream_reader import read_batches
from tests.common.data.settings import data_config


@pytest.fixture(scope="module")
def train():
  return open_dataset(data_config(name="blobs", image_size=8, train_split="train[:50]")).train


def read(train, start, rows, num, batch_size=12):
  batches = read_batches(train, IndexStream(len(train), seed=5), start=start, batch_size=batch_size, rows=rows)
  return list(itertools.islice(batches, num))


def test_streamed_batches_are_the_resident_rows(train):
  whole = train.arrays()
  order = IndexStream(len(train), seed=5).indices(0, 200)
  for j, batch in enumerate(read(train, 0, slice(None), 10)):  # 120 positions: across two ends of an epoch
    chosen = order[12 * j : 12 * j + 12]
    assert (batch["image"] == whole["image"][chosen]).all() and (batch["label"] == whole["label"][chosen]).all()
    assert batch["index"].tolist() == list(range(12))


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_any_number_of_processes_makes_the_same_global_batch(train, processes):
  size = 12 // processes
  parts = [read(train, 24, slice(p * size, (p + 1) * size), 5) for p in range(processes)]
  for j, expected in enumerate(read(train, 24, slice(None), 5)):
    for name in ("image", "label", "index"):
      assert (np.concatenate([part[j][name] for part in parts]) == expected[name]).all()


def test_reading_goes_on_from_any_position(train):
  straight = read(train, 0, slice(None), 8)
  resumed = read(train, 5 * 12, slice(None), 3)
  assert all((a["image"] == b["image"]).all() for a, b in zip(straight[5:], resumed, strict=True))


def test_an_error_in_a_thread_reaches_the_loop(train):
  class Broken:
    def rows(self, indices):
      raise OSError("disk gone")

  with pytest.raises(OSError, match="disk gone"):
    next(iter(read_batches(Broken(), IndexStream(50, 0), start=0, batch_size=4, rows=slice(None))))
