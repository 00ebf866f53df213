"""log p(x) by importance sampling (Rezende et al. 2014, App. E; Burda et al. 2016, Eq. 8), in nats an image."""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh

from common import random
from common.algorithm import LatentVariable
from common.data.batches import EvalFeed
from common.data.spec import Spec
from common.errors import ConfigError
from common.evaluation.metrics.likelihood import LikelihoodResult, Model, PerImage, mean_score
from common.types import Array, Batch, PyTree

CHUNK = 500


def log_likelihood(
  algorithm: LatentVariable, state: PyTree, batch: Batch, rng: Array, *, k: int, chunk: int = CHUNK
) -> Array:
  """L_k = log 1/k sum_i p(x, z_i) / q(z_i|x) with z_1 .. z_k of q(z|x), for each image, [B].

  Its expectation rises with k from the ELBO (k = 1) to log p(x) (Burda et al. 2016, Theorem 1). Draw i of an image
  depends on (rng, its index, i) only: more draws contain the fewer, and neither the batch nor ``chunk`` changes any.

  Args:
    algorithm: the model.
    state: its state.
    batch: the images, their numbers in the split, and their labels; leaves [B, ...].
    rng: key of all draws.
    k: draws for each image; encoded once, so that memory holds k times z for the images of one pass.
    chunk: images times draws in one pass of the decoder; a few hundred stay in the cache of a CPU.
  """
  draws = min(k, chunk)
  passes = -(-k // draws)

  def one_image(row: Batch) -> Array:
    image = jax.tree.map(lambda leaf: leaf[None], row)
    # The last pass is filled up with draws that get no weight.
    z, log_q = algorithm.posterior_sample(state, image, rng, passes * draws)
    log_q = jnp.where(jnp.arange(passes * draws)[:, None] < k, log_q, jnp.inf)

    def add(total: Array, part: PyTree) -> tuple[Array, None]:
      z, log_q = part
      log_weights = algorithm.log_likelihood(state, image, z) + algorithm.log_prior(state, z) - log_q
      return jnp.logaddexp(total, jax.nn.logsumexp(log_weights, axis=0)), None

    parts = jax.tree.map(lambda a: a.reshape(passes, draws, *a.shape[1:]), (z, log_q))
    return lax.scan(add, jnp.full(1, -jnp.inf), parts)[0][0] - jnp.log(k)

  images = min(max(chunk // k, 1), len(batch["index"]))
  return lax.map(one_image, batch, batch_size=images if images > 1 else None)


class ImportanceSampler:
  """`log_likelihood` of every image of a split on all devices; compiled once.

  Args:
    algorithm: a model with a posterior and a joint density.
    spec: of its data.
    config: of its run; images are prepared and draws are seeded as `common.evaluation.validation.Evaluator` does.
    mesh: the devices; each takes its share of a batch.
    k: draws for each image.
    chunk: images times draws in one pass of the decoder of one device; only speed and memory depend on it.
  """

  def __init__(self, algorithm: LatentVariable, spec: Spec, config: Any, mesh: Mesh, *, k: int, chunk: int = CHUNK):
    if k < 1 or chunk < 1:
      raise ValueError(f"k={k} and chunk={chunk} must be 1 or more")

    def values(state: PyTree, batch: Batch, rng: Array) -> Array:
      return log_likelihood(algorithm, state, batch, random.stream(rng, "importance"), k=k, chunk=chunk)

    self._values = PerImage(values, spec, config, mesh)

  def batches(self, state: PyTree, feed: EvalFeed) -> Iterator[np.ndarray]:
    """L_k of a batch of the split after the other, [B]; without the padding of the last."""
    return self._values.batches(state, feed)

  def __call__(self, state: PyTree, feed: EvalFeed) -> np.ndarray:
    """L_k of all images of the split in its order, float32 [N]; its mean is the negative of the NLL."""
    return self._values(state, feed)


@dataclasses.dataclass(frozen=True)
class ImportanceNll:
  """ "nll": the mean of -L_k, in expectation above -log p(x) and falling with k to it.

  Attributes:
    k: draws for each image.
    chunk: images times draws in one pass of the decoder of one device; only speed and memory depend on it.
  """

  k: int = 5000
  chunk: int = CHUNK
  better: ClassVar[dict[str, str]] = {"nll": "min"}

  def __post_init__(self):
    if self.k < 1 or self.chunk < 1:
      raise ConfigError(f"k={self.k} and chunk={self.chunk} must be 1 or more")

  def __call__(self, model: Model, feed: EvalFeed) -> LikelihoodResult:
    """Over all images of the split.

    Raises:
      ConfigError: the likelihood is no density.
    """
    model.check_density("nll")

    def make() -> ImportanceSampler:
      return ImportanceSampler(model.algorithm, model.spec, model.config, model.mesh, k=self.k, chunk=self.chunk)

    values = -model.compiled(self, make)(model.state, feed)
    return LikelihoodResult({"nll": mean_score(values, f"k={self.k}")}, {"nll": values})
