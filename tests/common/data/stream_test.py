import numpy as np
import pytest

from common.data.stream import IndexStream, permutation


def test_each_example_comes_once_an_epoch_across_batch_boundaries():
  stream = IndexStream(10, seed=3)
  batches = [stream.indices(start, 4) for start in range(0, 40, 4)]  # 4 does not divide 10
  epochs = np.concatenate(batches).reshape(4, 10)
  assert (np.sort(epochs, axis=1) == np.arange(10)).all()
  assert len({tuple(epoch) for epoch in epochs}) == 4


@pytest.mark.parametrize("count", [0, 1, 7, 10, 35])
def test_is_a_pure_function_of_seed_and_position(count):
  read = IndexStream(10, seed=3).indices(0, 100)
  assert read.dtype == np.int32
  for start in (0, 3, 10, 61):
    resumed, moved = IndexStream(10, seed=3), IndexStream(10, seed=3)
    moved.indices(999, 5)
    for other in (resumed, moved):
      assert (other.indices(start, count) == read[start : start + count]).all()


def test_a_far_position_costs_one_permutation_and_two_are_kept():
  stream = IndexStream(60000, seed=0)
  stream.indices(10**9, 128)
  for epoch in range(5):
    stream.indices(60000 * epoch, 1)
  assert len(stream._epochs) == 2


def test_the_order_is_the_same_in_every_numpy_version():
  # A change here shows resumed runs other data, and moves the splits of digits.
  assert permutation(8, seed=0).tolist() == [0, 2, 1, 5, 4, 3, 6, 7]
  assert permutation(8, seed=1, epoch=2).tolist() == [4, 2, 0, 6, 1, 5, 7, 3]
  assert sorted(permutation(100, seed=-1)) == list(range(100))
