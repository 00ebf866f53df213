"""Feeds splits to compiled calls, and gathers the batch inside the compiled step.

A small set stays on the devices, and a call passes indices; a large set is read ahead by grain's threads, and a call
passes its rows. Both follow the same index stream, so the choice affects speed only.
"""

import functools
import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from common import random
from common.data.dataset import Split
from common.data.preprocess import preprocess
from common.data.source import Rows
from common.data.spec import Spec
from common.data.stream import IndexStream
from common.parallel import local_rows, place_batch, replicate
from common.types import Array, Batch, PyTree

_THREADS = 8  # batches read in parallel; image decoders release the GIL
_AHEAD = 8  # finished batches that are buffered


def is_resident(split: Split, mesh: Mesh, resident_mb: int) -> bool:
  """Returns whether copies of the split on all devices of this process fit in ``resident_mb`` together."""
  return split.nbytes * len(mesh.local_devices) <= resident_mb * 2**20


def gather(data: PyTree, inputs: dict[str, Array]) -> dict[str, Array]:
  """Gathers one raw batch inside the compiled step: image, label, index and, in evaluation, mask."""
  if "example" not in inputs:
    return inputs
  rest = {name: value for name, value in inputs.items() if name != "example"}
  return {**rest, **{name: jnp.take(array, inputs["example"], axis=0) for name, array in data.items()}}


class TrainFeed:
  """Makes the inputs of training calls; the input for ``step`` is a pure function of (seed, step).

  Attributes:
    data: the arrays that stay on the devices, an argument of every call.
    batch_axis: the axis of the global batch in the inputs' leaves.
  """

  def __init__(
    self,
    split: Split,
    mesh: Mesh,
    *,
    batch_size: int,
    batches_per_step: int | None,
    steps_per_call: int,
    seed: int,
    resident_mb: int,
  ):
    self._split, self._mesh, self._batch_size = split, mesh, batch_size
    self._lead = (steps_per_call,) if batches_per_step is None else (steps_per_call, batches_per_step)
    self._examples_per_step = batch_size * (batches_per_step or 1)
    self._stream = IndexStream(len(split), seed)
    self.batch_axis = len(self._lead)
    self.resident = is_resident(split, mesh, resident_mb)
    self.data = replicate(split.arrays(), mesh) if self.resident else {}
    self._ahead: Iterator[dict[str, np.ndarray]] | None = None
    self._next_step = -1

  def __call__(self, step: int) -> PyTree:
    """Returns the placed inputs of the steps step .. step + steps_per_call - 1."""
    rows = local_rows(self._batch_size)
    index = np.arange(self._batch_size, dtype=np.int32)[rows]
    inputs = {"index": np.broadcast_to(index, (*self._lead, len(index)))}
    if self.resident:
      count = self._lead[0] * self._examples_per_step
      examples = self._stream.indices(step * self._examples_per_step, count)
      inputs["example"] = examples.reshape(*self._lead, self._batch_size)[..., rows]
    else:
      inputs.update(self._read(step, rows))
    return place_batch(inputs, self._mesh, self.batch_axis)

  def _read(self, step: int, rows: slice) -> dict[str, np.ndarray]:
    if self._ahead is None or step != self._next_step:
      start = step * self._examples_per_step
      self._ahead = read_batches(self._split, self._stream, start=start, batch_size=self._batch_size, rows=rows)
    self._next_step = step + self._lead[0]
    batches = [next(self._ahead) for _ in range(int(np.prod(self._lead)))]
    stacked = {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}
    return {name: array.reshape(*self._lead, *array.shape[1:]) for name, array in stacked.items()}


def read_batches(split: Split, stream: IndexStream, *, start: int, batch_size: int, rows: slice) -> Iterator[Rows]:
  """Yields batches without end, decoded ahead by threads.

  Args:
    split: the split to read, by ``split.rows``.
    stream: the order of the examples.
    start: the position of the first global batch in ``stream``.
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


class EvalFeed:
  """Iterates over a split once, in order; the last batch is padded with its first example and mask 0.

  ``index`` is the example's number in the split, so that its random draws do not depend on the batch size.
  """

  batch_axis = 0

  def __init__(self, split: Split, mesh: Mesh, *, batch_size: int, resident_mb: int):
    # Padding makes the batch divisible by the number of devices.
    self._split, self._mesh, self._batch_size = split, mesh, batch_size + -batch_size % mesh.size
    self._resident = is_resident(split, mesh, resident_mb)

  @functools.cached_property
  def data(self) -> PyTree:
    """The arrays that stay on the devices, an argument of every call; read and placed on first access."""
    return replicate(self._split.arrays(), self._mesh) if self._resident else {}

  @property
  def shapes(self) -> tuple[PyTree, PyTree]:
    """(data, one batch of inputs) as ShapeDtypeStructs, for tracing before data are read."""
    batch, kinds = self._batch_size, self._split.row_types

    def rows(num: int) -> PyTree:
      return {name: jax.ShapeDtypeStruct((num, *shape), dtype) for name, (shape, dtype) in kinds.items()}

    inputs = {"index": jax.ShapeDtypeStruct((batch,), jnp.int32), "mask": jax.ShapeDtypeStruct((batch,), jnp.float32)}
    if not self._resident:
      return {}, {**inputs, **rows(batch)}
    return rows(len(self._split)), {**inputs, "example": inputs["index"]}

  def __len__(self) -> int:
    return -(-len(self._split) // self._batch_size)

  def __iter__(self) -> Iterator[PyTree]:
    for start in range(0, len(self._split), self._batch_size):
      position = np.arange(start, start + self._batch_size)[local_rows(self._batch_size)]
      real = position < len(self._split)
      example = np.where(real, position, start).astype(np.int32)
      inputs: dict[str, np.ndarray] = {"index": position.astype(np.int32), "mask": real.astype(np.float32)}
      inputs.update({"example": example} if self._resident else self._split.rows(example))
      yield place_batch(inputs, self._mesh, self.batch_axis)


def evaluation_batch(data: PyTree, inputs: PyTree, spec: Spec, config: Any) -> tuple[Batch, Array]:
  """Returns a batch of an `EvalFeed` as models see it, and the key for drawing; called inside a compiled step."""
  rng = random.stream(jax.random.key(config.seed), "evaluate")
  return preprocess(gather(data, inputs), random.stream(rng, "data"), spec, config.data, train=False), rng
