"""Batches of a set that is too large to be resident, read ahead by grain's threads at the index stream's indices."""

import sys
from collections.abc import Iterator

import numpy as np

from common.data.dataset import Rows, Split
from common.data.stream import IndexStream

_THREADS = 8  # batches in the making; image decoders release the GIL
_AHEAD = 4  # finished batches that wait


def read_batches(split: Split, stream: IndexStream, *, start: int, batch_size: int, rows: slice) -> Iterator[Rows]:
  """Batches without end; start at any position to resume there.

  Args:
    split: what to read, by ``split.rows``.
    stream: the order.
    start: the position of the first global batch.
    batch_size: of the global batch.
    rows: the rows of the global batch that this process needs.

  Yields:
    "image" [n, H, W, C], "label" int32 [n] and "index" int32 [n], the rows of the global batch. Batch j has
    the examples at positions start + j * batch_size + index.
  """
  import grain  # takes seconds; only large sets need it

  index = np.arange(batch_size, dtype=np.int32)[rows]

  def read(batch: int) -> Rows:
    # The whole global batch of indices is as cheap as a part of it, and any slice of it is right.
    chosen = stream.indices(start + batch * batch_size, batch_size)[rows]
    return {**split.rows(chosen), "index": index}

  # An element is a batch: decoding by the batch is several times as fast as by the example.
  batches = grain.MapDataset.range(sys.maxsize).map(read)
  return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_AHEAD)))
