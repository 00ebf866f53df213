"""The evidence lower bound and its parts (Kingma & Welling 2013, arXiv:1312.6114, Eq. 3), in nats an image."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common import random
from common.algorithm import LatentVariable
from common.data.batches import EvalFeed
from common.errors import ConfigError
from common.evaluation.metrics.likelihood import LikelihoodResult, Model, PerImage, mean_score
from common.types import Array, Batch, PyTree


def bound_terms(
  algorithm: LatentVariable, state: PyTree, batch: Batch, rng: Array, *, samples: int, chunk: int
) -> tuple[Array, dict[str, Array]]:
  """The distortion and the rates of each image, means over its draws: leaves [B, ...] -> [B], {name: [B]}.

  Args:
    algorithm: the model.
    state: its state.
    batch: the images, their numbers in the split, and their labels.
    rng: key of all draws.
    samples: draws of z for each image.
    chunk: images times draws in one pass of the decoder, where that is at least ``samples``.
  """

  def one_image(row: Batch) -> PyTree:
    terms = algorithm.bound_terms(state, jax.tree.map(lambda leaf: leaf[None], row), rng, samples)
    return jax.tree.map(lambda values: jnp.mean(values[:, 0]), terms)

  images = min(max(chunk // samples, 1), len(batch["index"]))
  return lax.map(one_image, batch, batch_size=images if images > 1 else None)


@dataclasses.dataclass(frozen=True)
class Bound:
  """ "elbo" = -("distortion" + "rate"), and "rate_<name>" where a model has several.

  The distortion -log p(x|z) and the rate KL(q(z|x) || p(z)) are the two axes of Alemi et al. 2018 (arXiv:1711.00464).

  Attributes:
    samples: draws of z for each image.
    chunk: images times draws in one pass of the decoder of one device; only speed and memory depend on it.
  """

  samples: int = 1
  chunk: int = 500
  better: ClassVar[dict[str, str]] = {"elbo": "max", "distortion": "", "rate": ""}

  def __post_init__(self):
    if self.samples < 1 or self.chunk < 1:
      raise ConfigError(f"samples={self.samples} and chunk={self.chunk} must be 1 or more")

  def __call__(self, model: Model, feed: EvalFeed) -> LikelihoodResult:
    """Over all images of the split; the standard errors are those of means over images, draws included."""

    algorithm = model.algorithm

    def values(state: PyTree, batch: Batch, rng: Array) -> PyTree:
      key = random.stream(rng, "bound")
      return bound_terms(algorithm, state, batch, key, samples=self.samples, chunk=self.chunk)

    per_image_terms = model.compiled(self, lambda: PerImage(values, model.spec, model.config, model.mesh))
    distortion, rates = per_image_terms(model.state, feed)
    rate = np.sum(list(rates.values()), axis=0)
    per_image = {"elbo": -(distortion + rate), "distortion": distortion, "rate": rate}
    if len(rates) > 1:
      per_image.update({f"rate_{name}": part for name, part in rates.items()})
    method = f"{self.samples} {'draw' if self.samples == 1 else 'draws'} of z each"
    return LikelihoodResult({name: mean_score(found, method) for name, found in per_image.items()}, per_image)
