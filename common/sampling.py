"""Pictures from a trained state; row i depends on (seed, i) only, whatever the number or the batch size."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from common import random
from common.algorithm import Array, Generative, Images, Latents, PyTree, Spec
from common.parallel import split_rows, to_host


class Sampler:
  """Draws from a Generative in batches, compiled once.

  Args:
    algorithm: the model.
    spec: of its data; gives the labels of a conditional model.
    mesh: the devices, each of which draws its share of a batch.
    ema: whether the averaged weights are used.
    batch_size: pictures a call; only speed and memory depend on it.
  """

  def __init__(self, algorithm: Generative, spec: Spec, mesh: Mesh, *, ema: bool = True, batch_size: int = 64):
    self._algorithm, self._spec, self._mesh = algorithm, spec, mesh
    self._batch_size = batch_size + -batch_size % mesh.size
    self._latents = jax.jit(algorithm.prior_sample)
    self._decode = jax.jit(lambda state, z, labels: algorithm.decode(state, z, labels, ema=ema))

    def draw(state: PyTree, seed: Array, index: Array, labels: Array | None) -> Images:
      z = algorithm.prior_sample(state, random.stream(jax.random.key(seed), "sample"), index)
      return algorithm.decode(state, z, labels, ema=ema)

    self._draw = jax.jit(draw)

  @property
  def conditional(self) -> bool:
    """Whether pictures are drawn of labels."""
    return self._algorithm.conditional

  def latents(self, state: PyTree, seed: int, index: np.ndarray) -> Latents:
    """Latents of the rows ``index`` [N]."""
    rng = random.stream(jax.random.key(seed), "sample")
    return self._latents(state, rng, jnp.asarray(index, jnp.int32))

  def labels(self, seed: int, index: np.ndarray) -> np.ndarray:
    """Uniform labels of the rows ``index`` [N]."""
    rng = random.stream(jax.random.key(seed), "label")
    rows = random.row_keys(rng, jnp.asarray(index, jnp.int32))
    return np.asarray(random.integers(rows, 0, self._spec.num_classes))

  def decode(self, state: PyTree, z: Latents, labels: np.ndarray | None) -> np.ndarray:
    """Pictures of given latents [N, ...], with labels [N] for a conditional model."""
    count = len(jax.tree.leaves(z)[0])
    parts = []
    for start in range(0, count, self._batch_size):
      rows = np.minimum(np.arange(start, start + self._batch_size), count - 1)  # one shape, one compilation
      part = self._decode(state, _take(z, rows), None if labels is None else labels[rows])
      parts.append(np.asarray(part)[: count - start])
    return np.concatenate(parts)

  def batches(self, state: PyTree, seed: int, num: int, labels: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """``num`` pictures, a batch at a time; without ``labels`` [num] a conditional model draws them uniformly."""
    if self._algorithm.conditional and labels is None:
      labels = self.labels(seed, np.arange(num))
    for start in range(0, num, self._batch_size):
      index = np.arange(start, start + self._batch_size, dtype=np.int32)
      rows = index, None if labels is None else labels[np.minimum(index, num - 1)]
      yield to_host(self._draw(state, np.uint32(seed), *split_rows(rows, self._mesh)))[: num - start]

  def __call__(self, state: PyTree, seed: int, num: int, labels: np.ndarray | None = None) -> np.ndarray:
    """``num`` pictures [num, H, W, C] in spec.pixel_range."""
    return np.concatenate(list(self.batches(state, seed, num, labels)))

  def interpolate(
    self, state: PyTree, seed: int, rows: int, steps: int, labels: np.ndarray | None = None
  ) -> np.ndarray:
    """``rows`` straight lines of ``steps`` pictures from latents 2 i to 2 i + 1 (Radford et al. 2015, Section 6.1).

    Returns [rows * steps, H, W, C]; a row keeps its label.
    """
    ends = self.latents(state, seed, np.arange(2 * rows))
    t = jnp.linspace(0.0, 1.0, steps)

    def line(z: jax.Array) -> jax.Array:
      first, last = z[0::2, None], z[1::2, None]
      weight = t.reshape(1, steps, *[1] * (z.ndim - 1))
      return (first + (last - first) * weight).reshape(rows * steps, *z.shape[1:])

    if self._algorithm.conditional:
      labels = np.repeat(self.labels(seed, np.arange(rows)) if labels is None else labels, steps)
    return self.decode(state, jax.tree.map(line, ends), labels)


def _take(z: Latents, rows: np.ndarray) -> Latents:
  return jax.tree.map(lambda x: x[rows], z)
