"""log p(x) by importance sampling (Rezende et al. 2014, App. E; Burda et al. 2016, Eq. 8), in nats an image."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from common import random
from common.algorithm import LatentVariable
from common.data.batches import EvalFeed
from common.evaluation.metrics.likelihood import LikelihoodResult, Model, check_positive, mean_score
from common.types import Array, Batch, PyTree

CHUNK = 500


def log_likelihood(
  algorithm: LatentVariable, state: PyTree, batch: Batch, rng: Array, *, k: int, chunk: int = CHUNK
) -> Array:
  """Returns L_k = log 1/k sum_i p(x, z_i) / q(z_i|x) with z_1 .. z_k from q(z|x), for each image, [B].

  Its expectation rises with k from the ELBO (k = 1) to log p(x) (Burda et al. 2016, Theorem 1). Draw i of an image
  depends on (rng, its index, i) only, whatever the batch, ``chunk`` and the number of draws.

  Args:
    algorithm: the model.
    state: its state.
    batch: the images, their indices in the split, and their labels; leaves [B, ...].
    rng: key of all draws.
    k: draws for each image. It is encoded once, so that memory holds k times z for the images of one pass.
    chunk: images times draws in one pass of the decoder; a few hundred stay in the cache of a CPU.
  """
  draws = min(k, chunk)
  passes = -(-k // draws)

  def one_image(row: Batch) -> Array:
    image = jax.tree.map(lambda leaf: leaf[None], row)
    # Draws with weight 0 fill up the last pass.
    z, log_q = algorithm.posterior_sample(state, image, rng, passes * draws)
    log_q = jnp.where(jnp.arange(passes * draws)[:, None] < k, log_q, jnp.inf)

    def add(total: Array, part: PyTree) -> tuple[Array, None]:
      z, log_q = part
      log_weights = algorithm.log_likelihood(state, image, z) + algorithm.log_prior(state, image, z) - log_q
      return jnp.logaddexp(total, jax.nn.logsumexp(log_weights, axis=0)), None

    parts = jax.tree.map(lambda a: a.reshape(passes, draws, *a.shape[1:]), (z, log_q))
    return lax.scan(add, jnp.full(1, -jnp.inf), parts)[0][0] - jnp.log(k)

  images = min(max(chunk // k, 1), len(batch["index"]))
  return lax.map(one_image, batch, batch_size=images if images > 1 else None)


@dataclasses.dataclass(frozen=True)
class ImportanceNll:
  """Computes "nll", the mean of -L_k. Its expectation is above -log p(x) and falls to it with k.

  Attributes:
    k: draws for each image.
    chunk: images times draws in one pass of the decoder of one device; only speed and memory depend on it.
  """

  k: int = 5000
  chunk: int = CHUNK
  better: ClassVar[dict[str, str]] = {"nll": "min"}

  def __post_init__(self):
    check_positive(self, "k", "chunk")

  def __call__(self, model: Model, feed: EvalFeed) -> LikelihoodResult:
    """Scores all images of the split.

    Raises:
      ConfigError: the likelihood is not a density.
    """
    model.check_density("nll")
    algorithm = model.algorithm

    def values(state: PyTree, batch: Batch, rng: Array) -> Array:
      key = random.stream(rng, "importance")
      return log_likelihood(algorithm, state, batch, key, k=self.k, chunk=self.chunk)

    nll = -model.per_image(self, values)(model.state, feed)
    return LikelihoodResult({"nll": mean_score(nll, f"k={self.k}")}, {"nll": nll})
