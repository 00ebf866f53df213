"""Pictures from a trained state; row i depends on (seed, i) only, whatever the number or the batch size.

The one exception is BatchNorm over the batch that is drawn, which some papers report.
"""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from common import random
from common.algorithm import Generative, HasBatchStatistics
from common.build import choose
from common.data.spec import Spec
from common.errors import ConfigError
from common.parallel import split_rows, to_host
from common.types import Array, Images, Latents, PyTree

NO_PRIOR = "this model has no distribution of its latents to draw from; fit one"
STANDING_BATCHES = 64
STATISTICS = {
  "running": "those that training kept",
  "batch": "those of the batch that is drawn",
  "standing": f"their mean over {STANDING_BATCHES} batches of fresh latents (Brock et al. 2019)",
}


class Sampler:
  """Draws from a Generative in batches, compiled once.

  Args:
    algorithm: the model.
    spec: of its data; gives the labels of a conditional model.
    mesh: the devices, each of which draws its share of a batch.
    ema: whether the averaged weights are used.
    batch_size: pictures a call; only speed and memory depend on it, and the statistics "batch" and "standing".
    truncation: latents of N(0, I) are drawn given that no value of theirs is larger in size (Brock et al. 2019,
      Section 3.1); 0 for all.
    batch_norm: whose statistics BatchNorm takes, one of STATISTICS.
    source: where latents come from, for the protocol: the model's "prior", or a sampler fitted afterwards.

  Raises:
    ConfigError: a way to draw that this model has not.
  """

  def __init__(
    self,
    algorithm: Generative,
    spec: Spec,
    mesh: Mesh,
    *,
    ema: bool = True,
    batch_size: int = 64,
    truncation: float = 0.0,
    batch_norm: str = "running",
    source: str = "prior",
  ):
    choose(STATISTICS, batch_norm, "--batch_norm")
    if not algorithm.has_prior:
      raise ConfigError(
        f"{NO_PRIOR} (python -m experiments.fit_sampler --workdir=RUN --sampler=gmm), and name it: --sampler=gmm"
      )
    if not 0.0 <= truncation < math.inf:
      raise ConfigError(f"truncation={truncation} must be above 0, or 0 for none")
    if truncation and not algorithm.normal_latents:
      raise ConfigError(
        f"truncation={truncation} is for latents from N(0, I), and this model has others; leave it out (--truncation=0)"
      )
    if batch_norm != "running" and not isinstance(algorithm, HasBatchStatistics):
      raise ConfigError(f'--batch_norm="{batch_norm}" is for generators with BatchNorm; use --batch_norm=running')
    model: Any = algorithm
    self._truncation, self._batch_norm, self._source = truncation, batch_norm, source
    self._algorithm = model
    self._spec, self._mesh = spec, mesh
    self._batch_size = batch_size + -batch_size % mesh.size

    def latents(state: PyTree, rng: Array, index: Array) -> Latents:
      z = model.prior_sample(state, rng, index)
      return jax.tree.map(lambda x: random.truncated(x, truncation), z) if truncation else z

    def decode(state: PyTree, z: Latents, labels: Array | None) -> Images:
      if batch_norm == "batch":
        state = model.with_statistics(state, model.batch_statistics(state, z, labels, ema=ema))
      return model.decode(state, z, labels, ema=ema)

    def draw(state: PyTree, seed: Array, index: Array, labels: Array | None) -> Images:
      return decode(state, latents(state, random.stream(jax.random.key(seed), "sample"), index), labels)

    def standing(state: PyTree, seed: Array, index: Array, labels: Array | None) -> PyTree:
      z = latents(state, random.stream(jax.random.key(seed), "standing"), index)
      return model.batch_statistics(state, z, labels, ema=ema)

    self._latents, self._decode, self._draw = jax.jit(latents), jax.jit(decode), jax.jit(draw)
    self._statistics = jax.jit(standing)

  @property
  def conditional(self) -> bool:
    """Whether pictures are drawn of labels."""
    return self._algorithm.conditional

  @property
  def protocol(self) -> dict[str, Any]:
    """What a score must say of how pictures were drawn."""
    sizes = {
      "running": "",
      "batch": f" of {self._batch_size}",
      "standing": f", {STANDING_BATCHES} of {self._batch_size}",
    }
    return {
      "batch_norm": f"{self._batch_norm}{sizes[self._batch_norm]}",
      "truncation": self._truncation or "none",
      "sampler": self._source,
    }

  def latents(self, state: PyTree, seed: int, index: np.ndarray) -> Latents:
    """Latents of the rows ``index`` [N]."""
    rng = random.stream(jax.random.key(seed), "sample")
    return self._latents(state, rng, jnp.asarray(index, jnp.int32))

  def labels(self, seed: int, index: np.ndarray) -> np.ndarray:
    """Labels of the rows ``index`` [N], uniform over those that occur in training."""
    rng = random.stream(jax.random.key(seed), "label")
    rows = random.row_keys(rng, jnp.asarray(index, jnp.int32))
    classes = np.asarray(self._spec.labels, np.int32)
    return classes[np.asarray(random.integers(rows, 0, len(classes)))]

  def decode(self, state: PyTree, z: Latents, labels: np.ndarray | None) -> np.ndarray:
    """Pictures of given latents [N, ...], with labels [N] for a conditional model."""
    count = len(jax.tree.leaves(z)[0])
    state, parts = self._settled(state), []
    for start in range(0, count, self._batch_size):
      rows = np.minimum(np.arange(start, start + self._batch_size), count - 1)  # one shape, one compilation
      part = self._decode(state, _take(z, rows), None if labels is None else labels[rows])
      parts.append(np.asarray(part)[: count - start])
    return np.concatenate(parts)

  def batches(self, state: PyTree, seed: int, num: int, labels: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """``num`` pictures, a batch at a time; without ``labels`` [num] a conditional model draws them uniformly."""
    if self._algorithm.conditional and labels is None:
      labels = self.labels(seed, np.arange(num))
    state = self._settled(state)
    for start in range(0, num, self._batch_size):
      index = np.arange(start, start + self._batch_size, dtype=np.int32)
      rows = index, None if labels is None else labels[np.minimum(index, num - 1)]
      yield to_host(self._draw(state, np.uint32(seed), *split_rows(rows, self._mesh)))[: num - start]

  def _settled(self, state: PyTree) -> PyTree:
    """The state that pictures are drawn with: under "standing", with the statistics of that name."""
    if self._batch_norm != "standing":
      return state
    total = None
    for start in range(0, STANDING_BATCHES * self._batch_size, self._batch_size):
      index = np.arange(start, start + self._batch_size, dtype=np.int32)
      rows = split_rows((index, self.labels(0, index) if self.conditional else None), self._mesh)
      found = self._statistics(state, np.uint32(0), *rows)
      total = found if total is None else jax.tree.map(jnp.add, total, found)
    mean = jax.tree.map(lambda x: x / STANDING_BATCHES, total)
    return self._algorithm.with_statistics(state, mean)

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
