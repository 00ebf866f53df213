"""Log-likelihood of real pictures under Gaussians at generated ones (Goodfellow et al. 2014, arXiv:1406.2661, Table 1).

It allows a comparison with papers that report it, and says little about samples: centroids of the training data score
higher than the data themselves (Theis et al. 2016, arXiv:1511.01844).
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common.errors import ConfigError
from common.evaluation.metrics.estimate import estimate
from common.evaluation.metrics.score import Need, SampleSet, Score
from common.types import Array

BLOCK = 1 << 23  # numbers in a block of distances


def parzen_log_density(
  queries: np.ndarray, centres: np.ndarray, sigmas: np.ndarray, *, block: int = BLOCK
) -> np.ndarray:
  """Returns the log of the mean over centres of N(query; centre, sigma^2 I) in nats, for each sigma: float64 [S, N].

  Args:
    queries: [N, D].
    centres: [M, D].
    sigmas: [S], above 0.
    block: numbers in a block of distances; memory follows it, the result does not.
  """
  middle = np.mean(centres, axis=0, dtype=np.float64)
  rows, points = ((x - middle).astype(np.float32) for x in (queries, centres))
  sigmas, size = np.asarray(sigmas, np.float64), min(max(1, block // len(points)), len(rows))
  on_device, out = jnp.asarray(points), np.empty((len(sigmas), len(rows)))
  for start in range(0, len(rows), size):
    # Repeating the last row gives all blocks one shape.
    batch = rows[np.minimum(np.arange(start, start + size), len(rows) - 1)]
    out[:, start : start + size] = np.asarray(_log_sums(batch, on_device, sigmas.astype(np.float32)))[
      :, : len(rows) - start
    ]
  constant = math.log(len(points)) + queries.shape[1] * np.log(sigmas * math.sqrt(2.0 * math.pi))
  return out - constant[:, None]


@jax.jit
def _log_sums(queries: Array, points: Array, sigmas: Array) -> Array:
  """Returns log sum exp(-|query - point|^2 / (2 sigma^2)), [S, B]."""
  squares = jnp.sum(queries**2, axis=1)[:, None] + jnp.sum(points**2, axis=1)
  squares -= 2.0 * jnp.matmul(queries, points.T, precision=lax.Precision.HIGHEST)
  squares = jnp.maximum(squares, 0.0)
  return lax.map(lambda sigma: jax.nn.logsumexp(-squares / (2.0 * sigma**2), axis=1), sigmas)


@dataclasses.dataclass(frozen=True)
class ParzenWindow:
  """The mean log-density of real images in nats, pixels in [0, 1], under Gaussian kernels at all generated images.

  The kernel's sigma is chosen from a logarithmic grid on real images that are held out at random; the score is the mean
  over the others. The method names sigma, and says if it is at an end of the grid.

  Attributes:
    smallest: the smallest sigma in the grid.
    largest: the largest sigma in the grid.
    sigmas: number of sigmas in the grid.
    held_out: share of the real images on which sigma is chosen.
  """

  smallest: float = 0.1
  largest: float = 1.0
  sigmas: int = 10
  held_out: float = 0.1
  needs: ClassVar[frozenset[Need]] = frozenset({"images"})
  better: ClassVar[dict[str, str]] = {"parzen_log_likelihood": "max"}

  def __post_init__(self) -> None:
    if not 0.0 < self.smallest <= self.largest:
      raise ConfigError(f"smallest={self.smallest} and largest={self.largest} are not 0 < smallest <= largest")
    if self.sigmas < 1:
      raise ConfigError(f"sigmas={self.sigmas} must be 1 or more")
    if not 0.0 < self.held_out < 1.0:
      raise ConfigError(f"held_out={self.held_out} must lie between 0 and 1")

  def least(self) -> tuple[int, int]:
    return max(math.ceil(1.0 / self.held_out), math.ceil(2.0 / (1.0 - self.held_out))), 1

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    queries, centres = _pixels(real, "real"), _pixels(fake, "generated")
    if queries.shape[1] != centres.shape[1]:
      raise ValueError(f"pictures of {queries.shape[1]} and {centres.shape[1]} pixels cannot be compared")
    if len(queries) < self.least()[0] or not len(centres):
      raise ValueError(
        f"{len(queries)} real and {len(centres)} generated pictures: held_out={self.held_out} needs "
        f"{self.least()[0]} and 1 or more"
      )
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(queries))
    count = int(self.held_out * len(queries))
    grid = np.geomspace(self.smallest, self.largest, self.sigmas)
    chosen = int(np.argmax(np.mean(parzen_log_density(queries[order[:count]], centres, grid), axis=1)))
    found = estimate(parzen_log_density(queries[order[count:]], centres, grid[chosen : chosen + 1])[0])
    end = ", at the end of the grid" if self.sigmas > 1 and chosen in (0, self.sigmas - 1) else ""
    method = f"mean of {found.count} real pictures, sigma {grid[chosen]:.4g} by {count} others{end}"
    return {"parzen_log_likelihood": Score(found.mean, found.standard_error, method, freedom=found.count - 1)}


def _pixels(samples: SampleSet, whose: str) -> np.ndarray:
  """Returns the pixels of images in [0, 1], float32 [N, H * W * C], or the coordinates of points."""
  images = np.asarray(samples.images)
  pixels = images.reshape(len(images), -1).astype(np.float32) / (255.0 if images.dtype == np.uint8 else 1.0)
  if not np.all(np.isfinite(pixels)):
    raise ValueError(f"{np.sum(~np.isfinite(pixels).all(axis=1))} of {len(pixels)} {whose} pictures are not finite")
  return pixels
