"""Pictures from a trained state; row i depends on (seed, i) only, whatever the number or the batch size."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from common import random
from common.algorithm import Generative, HasBatchStatistics
from common.build import choose
from common.data import images
from common.data.dataset import Split
from common.data.preprocess import preprocess
from common.data.spec import Spec
from common.errors import ConfigError
from common.parallel import split_rows, to_host
from common.training.program import Program
from common.types import Array, Given, Images, Latents, PyTree

NO_PRIOR = "this model has no distribution of its latents to draw from; fit one"
STANDING_BATCHES = 64
STATISTICS = {
  "running": "the averages kept during training",
  "standing": f"the mean over {STANDING_BATCHES} batches of fresh latents (Brock et al. 2019)",
}


Examples = Callable[[np.ndarray], dict[str, Array]]


def examples_of(split: Split, spec: Spec, config: Any, names: tuple[str, ...]) -> Examples:
  """Returns the map from numbers [N] of a split's examples, beyond its end from its start again, to rows of ``names``.

  They are as models see them in evaluation, so that what was drawn for example i can be compared with example i.
  """
  key = random.stream(random.stream(jax.random.key(config.seed), "evaluate"), "data")

  @jax.jit
  def seen(raw: dict[str, Array]) -> dict[str, Array]:
    batch = preprocess(raw, key, spec, config.data, train=False)
    return {name: batch[name] for name in names}

  def rows(index: np.ndarray) -> dict[str, Array]:
    index = np.asarray(index, np.int32) % len(split)
    return seen({**split.rows(index), "index": index})

  return rows


class Sampler:
  """Draws from a Generative in batches, compiled once.

  Args:
    algorithm: the model.
    spec: describes its data; gives the labels that occur.
    mesh: the devices, each of which draws its share of a batch.
    ema: whether the averaged weights are used.
    batch_size: pictures a call; affects speed and memory, and the statistics "standing".
    truncation: the largest absolute value of N(0, I) latents, which are drawn from the truncated normal (Brock et al.
      2019, Section 3.1); 0 for no bound.
    batch_norm: whose statistics BatchNorm uses, one of STATISTICS.
    source: where latents come from, for the protocol: the model's "prior", or a density fitted afterwards.
    examples: gives the rows other than labels that the model is given, from `examples_of`; row i of the pictures gets
      those of example i.

  Raises:
    ConfigError: the model cannot be sampled in this way.
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
    examples: Examples | None = None,
  ):
    choose(STATISTICS, batch_norm, "--batch_norm")
    if not algorithm.has_prior:
      raise ConfigError(
        f"{NO_PRIOR} (python -m experiments.train --config=samplers:gmm --config.data.dir=RUN --workdir=RUN-gmm) and "
        "name it: --prior=RUN-gmm"
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
    self._algorithm, self._spec, self._mesh, self._examples = model, spec, mesh, examples
    self._batch_norm, self._batch_size = batch_norm, batch_size + -batch_size % mesh.size
    size = f", {STANDING_BATCHES} of {self._batch_size}" if batch_norm == "standing" else ""
    self.protocol = {"batch_norm": f"{batch_norm}{size}", "truncation": truncation or "none", "sampler": source}

    def latents(state: PyTree, rng: Array, index: Array, given: Given) -> Latents:
      z = model.prior_sample(state, rng, index, given)
      return jax.tree.map(lambda x: random.truncated(x, truncation), z) if truncation else z

    def decode(state: PyTree, z: Latents, given: Given) -> Images:
      return model.decode(state, z, given, ema=ema)

    def draw(state: PyTree, seed: Array, index: Array, given: Given) -> Images:
      return decode(state, latents(state, random.stream(jax.random.key(seed), "sample"), index, given), given)

    def standing(state: PyTree, seed: Array, index: Array, given: Given) -> PyTree:
      z = latents(state, random.stream(jax.random.key(seed), "standing"), index, given)
      return model.batch_statistics(state, z, given, ema=ema)

    self._latents, self._decode, self._draw = jax.jit(latents), jax.jit(decode), jax.jit(draw)
    self._statistics = jax.jit(standing)

  @property
  def labelled(self) -> bool:
    """Whether the model is given labels, which are drawn; those beside an image are the image's."""
    return "label" in self._algorithm.given and "image" not in self._algorithm.given

  def latents(self, state: PyTree, seed: int, index: np.ndarray, given: Given = None) -> Latents:
    """Draws the latents of the rows ``index`` [N], which are ``given`` [N, ...] if the prior depends on it."""
    rng = random.stream(jax.random.key(seed), "sample")
    return self._latents(state, rng, jnp.asarray(index, jnp.int32), given)

  def check_latents(self, state: PyTree, what: str) -> None:
    """Raises ConfigError, which begins with ``what``, if the model has no latents by which draws could differ."""
    index = np.zeros(1, np.int32)
    z = jax.eval_shape(self._latents, state, jax.random.key(0), index, self.given(0, index))
    if not sum(math.prod(part.shape) for part in jax.tree.leaves(z)):
      raise ConfigError(f"{what}: this network has no latents, and gives one result for each input; leave it out")

  def labels(self, seed: int, index: np.ndarray) -> np.ndarray:
    """Draws the labels of the rows ``index`` [N], uniformly from those that occur in training."""
    rng = random.stream(jax.random.key(seed), "label")
    rows = random.row_keys(rng, jnp.asarray(index, jnp.int32))
    classes = np.asarray(self._spec.labels, np.int32)
    return classes[np.asarray(random.integers(rows, 0, len(classes)))]

  def given(self, seed: int, index: np.ndarray) -> Given:
    """Draws what the rows ``index`` [N] are given: their `labels`, and other rows from real examples.

    Raises:
      ConfigError: there are no examples.
    """
    names = self._algorithm.given
    rows: dict[str, Any] = {"label": self.labels(seed, index)} if self.labelled else {}
    if set(names) - set(rows):
      if self._examples is None:
        way_out = "write some, --text=CAPTION" if "text" in names else "experiments.restore gives it pictures"
        raise ConfigError(f"this model is given {', '.join(names)}, which is not drawn; {way_out}")
      rows |= {name: value for name, value in self._examples(index).items() if name not in rows}
    return rows or None

  def decode(self, state: PyTree, z: Latents, given: Given = None) -> np.ndarray:
    """Returns the pictures of latents [N, ...] and the rows [N, ...] that the model is given."""
    count = len(jax.tree.leaves(z)[0])
    state, parts = self._with_statistics(state), []
    for start in range(0, count, self._batch_size):
      rows = np.minimum(np.arange(start, start + self._batch_size), count - 1)  # one shape, one compilation
      part = self._decode(state, *_take((z, given), rows))
      parts.append(np.asarray(part)[: count - start])
    return np.concatenate(parts)

  def batches(self, state: PyTree, seed: int, num: int | np.ndarray, given: Given = None) -> Iterator[np.ndarray]:
    """Yields pictures, a batch at a time, of the rows ``given`` [N, ...], or of those that `given` draws.

    ``num`` is the number of pictures, or their numbers [N].
    """
    state, numbers = self._with_statistics(state), numbers_of(num)
    for start in range(0, len(numbers), self._batch_size):
      rows = np.minimum(np.arange(start, start + self._batch_size), len(numbers) - 1)  # one shape, one compilation
      index = numbers[rows]
      batch = split_rows((index, _take(given, rows) if given else self.given(seed, index)), self._mesh)
      yield to_host(self._draw(state, np.uint32(seed), *batch))[: len(numbers) - start]

  def _with_statistics(self, state: PyTree) -> PyTree:
    """Returns the state, under "standing" with the standing statistics in place of the running ones."""
    if self._batch_norm != "standing":
      return state
    total = None
    for start in range(0, STANDING_BATCHES * self._batch_size, self._batch_size):
      index = np.arange(start, start + self._batch_size, dtype=np.int32)
      rows = split_rows((index, self.given(0, index)), self._mesh)
      batch = self._statistics(state, np.uint32(0), *rows)
      total = batch if total is None else jax.tree.map(jnp.add, total, batch)
    mean = jax.tree.map(lambda x: x / STANDING_BATCHES, total)
    return self._algorithm.with_statistics(state, mean)

  def __call__(self, state: PyTree, seed: int, num: int | np.ndarray, given: Given = None) -> np.ndarray:
    """Draws the pictures of `batches`, [N, H, W, C] in spec.pixel_range."""
    return np.concatenate(list(self.batches(state, seed, num, given)))

  def interpolate(self, state: PyTree, seed: int, num: int | np.ndarray, steps: int, given: Given = None) -> np.ndarray:
    """Draws lines of ``steps`` pictures, line i from latents 2 i to 2 i + 1 (Radford et al. 2015, Section 6.1).

    ``num`` is the number of lines, or their numbers [N]. Returns [N * steps, H, W, C]; a line keeps what it is given.
    """
    numbers = numbers_of(num)
    given = given or self.given(seed, numbers)
    first, last = (self.latents(state, seed, 2 * numbers + end, given) for end in (0, 1))
    of_steps = _take(given, np.repeat(np.arange(len(numbers)), steps))
    return self.decode(state, lines(first, last, steps), of_steps)


def numbers_of(num: int | np.ndarray) -> np.ndarray:
  """Returns int32 numbers [N]: those of the first ``num``, or ``num`` itself if it has them."""
  return np.asarray(np.arange(num) if isinstance(num, int) else num, np.int32)


def lines(first: Latents, last: Latents, steps: int) -> Latents:
  """Returns ``steps`` latents on the line from each of ``first`` [N, ...] to that of ``last``: [N * steps, ...]."""

  def line(z0: Array, z1: Array) -> Array:
    weight = jnp.linspace(0.0, 1.0, steps).reshape(1, steps, *[1] * (z0.ndim - 1))
    return (z0[:, None] + (z1 - z0)[:, None] * weight).reshape(-1, *z0.shape[1:])

  return jax.tree.map(line, first, last)


def _take(tree: PyTree, rows: np.ndarray) -> PyTree:
  return jax.tree.map(lambda x: x[rows], tree)


class Gallery:
  """The pictures that a run saves while it trains; compiled once."""

  COLUMNS = 8  # of each grid but those of triples
  TRIPLES = {"restored": 9}
  ROWS = 8  # of samples without labels
  CLASSES = 20  # the most rows of samples with labels

  def __init__(self, program: Program, algorithm: Generative):
    self._program, self._spec = program, program.dataset.spec
    examples = examples_of(program.dataset.validation, self._spec, program.config, algorithm.given)
    self._sampler = Sampler(algorithm, self._spec, program.mesh, examples=examples) if algorithm.has_prior else None
    self._visualize = jax.jit(algorithm.visualize)

  def __call__(self, state: PyTree) -> dict[str, np.ndarray]:
    """Returns {name: uint8 picture [H, W, C]}: "samples" of the same latents at each call, and those of ``visualize``.

    A model of labels has a row of samples for each, one that is given other rows has those of the validation split; a
    model without a prior has no samples.
    """
    spec, program, columns = self._spec, self._program, self.COLUMNS
    grids = {}
    if self._sampler:
      by_label = {"label": np.repeat(spec.labels[: self.CLASSES], columns)} if self._sampler.labelled else None
      num = len(by_label["label"]) if by_label else columns * self.ROWS
      grids["samples"] = self._sampler(state, program.config.seed, num, by_label)
    rows = program.dataset.validation.rows(np.arange(min(columns * self.ROWS // 2, len(program.dataset.validation))))
    raw = jax.tree.map(jnp.asarray, {**rows, "index": np.arange(len(rows["label"]), dtype=np.int32)})
    rng = random.stream(program.key, "visualize")
    batch = preprocess(raw, rng, spec, program.config.data, train=False)
    grids |= {name: np.asarray(x) for name, x in self._visualize(state, batch, rng).items()}
    widths = {name: self.TRIPLES.get(name, columns) for name in grids}
    return {name: images.picture(x, spec.kind, spec.pixel_range, widths[name]) for name, x in grids.items()}
