"""Reads ahead batches of a set that is too large to be resident, with grain's threads."""

import sys
from collections.abc import Iterator

import numpy as np

from common.data.dataset import Rows, Split
from common.data.stream import IndexStream

_THREADS = 8  # batches read in parallel; image decoders release the GIL
_AHEAD = 4  # finished batches that are buffered


def read_batches(split: Split, stream: IndexStream, *, start: int, batch_size: int, rows: slice) -> Iterator[Rows]:
  """Yields batches without end; start at any position to resume there.

  Args:
    split: the split to read, by ``split.rows``.
    stream: the order of the examples.
    start: the position of the first global batch.
    batch_size: size of the global batch.
    rows: the rows of the global batch that this process needs.

  Yields:
    "image" [n, H, W, C], "label" int32 [n] and "index" int32 [n], the rows of the global batch. Batch j has
    the examples at positions start + j * batch_size + index.
  """
  import grain  # its import takes seconds; only large sets need it

  index = np.arange(batch_size, dtype=np.int32)[rows]

  def read(batch: int) -> Rows:
    # Indices of the whole global batch are as cheap as a part of them, and any slice can be taken.
    chosen = stream.indices(start + batch * batch_size, batch_size)[rows]
    return {**split.rows(chosen), "index": index}

  # An element is a batch: decoding per batch is several times as fast as per example.
  batches = grain.MapDataset.range(sys.maxsize).map(read)
  return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_AHEAD)))
