"""The order of the training examples: a pure function of (seed, position), so that resuming costs nothing."""

import threading

import numpy as np


def permutation(num: int, seed: int, epoch: int = 0) -> np.ndarray:
  """Returns the order of 0 .. num - 1 in one epoch, int32 [num].

  Sorts raw Philox words, which are the same in every NumPy version; ``Generator.permutation`` does not promise that.
  """
  words = np.random.Philox(key=np.array([seed % 2**64, epoch], np.uint64)).random_raw(num)
  return np.argsort(words, kind="stable").astype(np.int32)


class IndexStream:
  """An endless stream with each example once per epoch, for any batch size and number of processes.

  Position p holds element ``p % num_examples`` of the permutation of epoch ``p // num_examples``. Epochs follow each
  other without a gap, so a batch may hold the end of one and the start of the next.
  """

  def __init__(self, num_examples: int, seed: int):
    self._num_examples = num_examples
    self._seed = seed
    self._epochs: dict[int, np.ndarray] = {}
    self._lock = threading.Lock()  # grain's threads call it, in batches.py

  def indices(self, start: int, count: int) -> np.ndarray:
    """Returns the examples at positions start .. start + count - 1, int32 [count]."""
    pieces = []
    position, stop = start, start + count
    while position < stop:
      epoch, offset = divmod(position, self._num_examples)
      piece = self._epoch(epoch)[offset : offset + stop - position]
      pieces.append(piece)
      position += len(piece)
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int32)

  def _epoch(self, epoch: int) -> np.ndarray:
    """Returns the permutation of one epoch; keeps two, for batches across a boundary."""
    with self._lock:
      if epoch not in self._epochs:
        if len(self._epochs) == 2:
          del self._epochs[min(self._epochs)]
        self._epochs[epoch] = permutation(self._num_examples, self._seed, epoch)
      return self._epochs[epoch]
