"""Scores of a state on a split: every image once, with the averaged weights."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from common import random
from common.algorithm import Trainable
from common.data.batches import EvalFeed, gather
from common.data.dataset import Split
from common.data.preprocess import preprocess
from common.data.spec import Spec
from common.parallel import compile_step
from common.training.loop import Totals
from common.types import Array, Batch, PyTree


def evaluation_batch(data: PyTree, inputs: PyTree, spec: Spec, config: Any) -> tuple[Batch, Array]:
  """A batch of `EvalFeed` as models see it, and the key of what is drawn for its images; inside a compiled step."""
  rng, options = random.stream(jax.random.key(config.seed), "evaluate"), config.data
  batch = preprocess(
    gather(data, inputs),
    random.stream(rng, "data"),
    spec=spec,
    flip=options.flip,
    dequantize=options.dequantize,
    binarize=options.binarize,
    train=False,
  )
  return batch, rng


class Evaluator:
  """Runs ``eval_step`` over a split on all devices; compiled once."""

  def __init__(self, algorithm: Trainable, spec: Spec, config: Any, mesh: Mesh):
    self._algorithm, self._mesh, self._config = algorithm, mesh, config

    def step(state: PyTree, data: PyTree, inputs: PyTree) -> tuple[tuple[()], PyTree]:
      batch, rng = evaluation_batch(data, inputs, spec, config)
      return (), algorithm.eval_step(state, batch, rng)

    self._step = compile_step(step, mesh, config.parallel.mode, batch_axis=EvalFeed.batch_axis, donate=False)

  def feed(self, split: Split) -> EvalFeed:
    config = self._config
    return EvalFeed(split, self._mesh, batch_size=config.train.batch_size, resident_mb=config.data.resident_mb)

  def names(self, state: PyTree, feed: EvalFeed) -> list[str]:
    """Which scores are single numbers, without computing any; ``state`` may be of ShapeDtypeStructs."""
    sums = jax.eval_shape(self._step, state, *feed.shapes)[1]
    means = {name: np.ones(mean.total.shape).tolist() for name, mean in sums.items()}
    scores = {**means, **self._algorithm.summarize(means)}
    return [name for name, score in scores.items() if not isinstance(score, list)]

  def __call__(self, state: PyTree, feed: EvalFeed) -> dict[str, Any]:
    """{metric: mean over the split, or a list of such}, and what the algorithm makes of them."""
    totals = Totals()
    for inputs in feed:
      totals.add(jax.device_get(self._step(state, feed.data, inputs)[1]))
    means = totals.means()
    return {**means, **self._algorithm.summarize(means)}
