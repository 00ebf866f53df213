"""The evidence lower bound and its parts (Kingma & Welling 2013, arXiv:1312.6114, Eq. 3), in nats an image."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common import random
from common.data.batches import EvalFeed
from common.evaluation.metrics.likelihood import LikelihoodResult, Model, check_positive, mean_score
from common.types import Array, Batch, PyTree


@dataclasses.dataclass(frozen=True)
class Bound:
  """Computes "elbo" = -("distortion" + "rate"), and "rate_<name>" for each rate if a model has several.

  The distortion -log p(x|z) and the rate KL(q(z|x) || p(z)) are the two axes of Alemi et al. 2018 (arXiv:1711.00464).

  Attributes:
    samples: draws of z for each image.
    chunk: images times draws in one pass of the decoder of one device; only speed and memory depend on it.
  """

  samples: int = 1
  chunk: int = 500
  better: ClassVar[dict[str, str]] = {"elbo": "max", "distortion": "", "rate": ""}

  def __post_init__(self):
    check_positive(self, "samples", "chunk")

  def __call__(self, model: Model, feed: EvalFeed) -> LikelihoodResult:
    """Scores all images of the split; the standard errors include the noise of the draws."""
    algorithm = model.algorithm

    def values(state: PyTree, batch: Batch, rng: Array) -> PyTree:
      def one_image(row: Batch) -> PyTree:
        image = jax.tree.map(lambda leaf: leaf[None], row)
        terms = algorithm.bound_terms(state, image, random.stream(rng, "bound"), self.samples)
        return jax.tree.map(lambda values: jnp.mean(values[:, 0]), terms)

      images = min(max(self.chunk // self.samples, 1), len(batch["index"]))
      return lax.map(one_image, batch, batch_size=images if images > 1 else None)

    distortion, rates = model.per_image(self, values)(model.state, feed)
    rate = np.sum(list(rates.values()), axis=0)
    per_image = {"elbo": -(distortion + rate), "distortion": distortion, "rate": rate}
    if len(rates) > 1:
      per_image.update({f"rate_{name}": part for name, part in rates.items()})
    method = f"{self.samples} {'draw' if self.samples == 1 else 'draws'} of z each"
    return LikelihoodResult({name: mean_score(terms, method) for name, terms in per_image.items()}, per_image)
