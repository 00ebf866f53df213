"""Bits per dimension, for models whose likelihood is a probability of the stored pixels.

The number of dimensions is pixels times channels. The path from the stored pixels to the model's input decides what is
added to its nats:

- Bernoulli on binarized pixels, or a likelihood of the 256 levels on unchanged grey values: a probability of the pixels
  themselves, so nothing is added.
- A density on dequantized pixels, low + (high - low) (v + u) / 256 of the grey value v with u uniform in [0, 1):
  -log P(v) <= E_u[-log p(x)] + log(256 / (high - low)) a dimension (Theis et al. 2016, arXiv:1511.01844, Section 3.1).
- A density on unchanged grey values is not bounded by any probability, and a Bernoulli on grey values is no likelihood:
  bits have no meaning.
"""

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np

from common.data.batches import EvalFeed
from common.data.spec import Spec
from common.errors import ConfigError
from common.evaluation.metrics.bound import Bound
from common.evaluation.metrics.importance import CHUNK, ImportanceNll
from common.evaluation.metrics.likelihood import LikelihoodResult, Model, check_positive, mean_score, no_density

GREY_VALUES = 256
SUPPORT = {  # of a pixel under each likelihood
  "bernoulli": "binary",
  "gaussian": "real",
  "shared_gaussian": "real",
  "discretized_logistic": "levels",
}


@dataclasses.dataclass(frozen=True)
class Dimensions:
  """Converts nats per image into bits per dimension.

  Attributes:
    count: dimensions of an image.
    nats: added to each dimension, for what dequantization did to the density.
    description: of the pixels, for the record.
  """

  count: int
  nats: float
  description: str

  def bits(self, nats: np.ndarray) -> np.ndarray:
    """Converts -log p in nats per image, [N], into bits per dimension."""
    return (np.asarray(nats, np.float64) / self.count + self.nats) / math.log(2.0)


def dimensions(spec: Spec, config: Any) -> Dimensions:
  """Returns the conversion for images as ``config`` prepares them, under its likelihood.

  Raises:
    ConfigError: bits per dimension have no meaning for it.
  """
  name, data = config.likelihood.name, config.data
  if spec.kind != "images":
    raise ConfigError(f'bits_per_dim: "{data.name}" has {spec.kind}, not pixels of {GREY_VALUES} grey values; use elbo')
  if any(row.name == "seen" and row.shape[2] > spec.image_shape[2] for row in spec.rows):
    raise ConfigError("bits_per_dim: the images have holes, of which a model may be one alone; take nll")
  if name not in SUPPORT:
    raise ConfigError(f'bits_per_dim: of likelihood "{name}" only nats are known; known: {", ".join(sorted(SUPPORT))}')
  count, (low, high) = math.prod(spec.image_shape), spec.pixel_range
  if SUPPORT[name] == "binary":
    if reason := no_density(config):
      raise ConfigError(f'bits_per_dim: config.likelihood.name="{name}" {reason}; set config.data.binarize="dynamic"')
    return Dimensions(count, 0.0, "binarized pixels")
  if SUPPORT[name] == "levels":
    if data.binarize != "none":
      raise ConfigError(
        f'bits_per_dim: config.likelihood.name="{name}" is of {GREY_VALUES} grey values; unset config.data.binarize'
      )
    return Dimensions(count, 0.0, f"{GREY_VALUES} grey values")
  if not data.dequantize:
    raise ConfigError(
      f'bits_per_dim: config.likelihood.name="{name}" is a density, which has no bound on unchanged grey values; set '
      "config.data.dequantize=True"
    )
  return Dimensions(count, math.log(GREY_VALUES / (high - low)), "uniform dequantization, one draw each")


@dataclasses.dataclass(frozen=True)
class BitsPerDim:
  """Computes "bits_per_dim" from a bound on the likelihood.

  Attributes:
    k: draws of z for each image: 1 for the evidence lower bound, more for the importance-weighted one.
    chunk: images times draws in one pass of the decoder of one device; only speed and memory depend on it.
  """

  k: int = 1
  chunk: int = CHUNK
  better: ClassVar[dict[str, str]] = {"bits_per_dim": "min"}

  def __post_init__(self):
    check_positive(self, "k", "chunk")

  def __call__(self, model: Model, feed: EvalFeed) -> LikelihoodResult:
    """Scores all images of the split.

    Raises:
      ConfigError: bits per dimension have no meaning for the model's config.
    """
    scale = dimensions(model.spec, model.config)
    if self.k == 1:
      nats = -Bound(chunk=self.chunk)(model, feed).per_image["elbo"]
    else:
      nats = ImportanceNll(k=self.k, chunk=self.chunk)(model, feed).per_image["nll"]
    values = scale.bits(nats)
    method = f"{'ELBO' if self.k == 1 else f'k={self.k}'}, {scale.description}"
    return LikelihoodResult({"bits_per_dim": mean_score(values, method)}, {"bits_per_dim": values})
