"""Measures of a split's latents: active units, the aggregate posterior, and the two parts of the rate.

With q(z) = 1/N sum_n q(z|x_n) over the N images of the split, the mean rate is the mutual information of z and the
image's index plus KL(q(z) || p(z)) (Hoffman & Johnson 2016, "ELBO surgery"; Makhzani et al. 2015, arXiv:1511.05644).
Both are estimated with the whole mixture, so that only the draws of z are random and there is no bias for this q(z).
For the distribution behind the split there is one, because the mixture contains each draw's own posterior: the mutual
information is at most log N and too small on average, and the marginal KL is too large by the same amount.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh

from common import random
from common.data.batches import EvalFeed
from common.errors import ConfigError
from common.evaluation.metrics.likelihood import LikelihoodResult, Model, check_positive, mean_score, place
from common.evaluation.metrics.score import Score
from common.parallel import compile_step, local_rows, place_batch, replicate
from common.types import Array, Batch, PyTree

LOG_2PI = math.log(2.0 * math.pi)
RESAMPLES = 200


def log_mixture(z: Array, mean: Array, log_var: Array, *, block: int) -> Array:
  """Returns log 1/N sum_n N(z; mean_n, e^log_var_n) in nats, [B, Z], [N, Z], [N, Z] -> [B].

  It squares differences. The matrix products of z^2 - 2 z m + m^2 would lose in float32 all that distinguishes narrow
  posteriors.

  Args:
    z: points.
    mean: means of the N components.
    log_var: logarithms of their variances.
    block: components at a time; memory holds B times this number of values.
  """
  count, size = mean.shape
  blocks = -(-count // block)
  fill = ((0, blocks * block - count), (0, 0))

  def parts(values: Array) -> Array:
    return jnp.pad(values, fill).reshape(blocks, block, size)

  # Components with weight 0 fill up the last block.
  log_weight = jnp.where(jnp.arange(blocks * block) < count, 0.0, -jnp.inf).reshape(blocks, block)

  def add(total: Array, part: tuple[Array, Array, Array]) -> tuple[Array, None]:
    mean, log_var, log_weight = part
    scaled = (z[:, None] - mean) ** 2 * jnp.exp(-log_var)
    log_density = log_weight - 0.5 * (jnp.sum(scaled, axis=-1) + jnp.sum(LOG_2PI + log_var, axis=-1))
    return jnp.logaddexp(total, jax.nn.logsumexp(log_density, axis=1)), None

  start = jnp.full(len(z), -jnp.inf)
  return lax.scan(add, start, (parts(mean), parts(log_var), log_weight))[0] - math.log(count)


class Mixture:
  """Evaluates `log_mixture` at many points on all devices; compiled once for each number of components.

  Args:
    mesh: the devices; each takes its share of the points.
    block: number of points per device, and of components, at a time.
  """

  def __init__(self, mesh: Mesh, block: int):
    self._mesh, self._size = mesh, block * mesh.size

    def step(state: PyTree, data: PyTree, inputs: PyTree) -> tuple[tuple[()], Array]:
      values = log_mixture(inputs["z"], data["mean"], data["log_var"], block=block)
      return (), place(values, inputs["position"], self._size)

    self._step = compile_step(step, mesh, "shard_map", batch_axis=0, donate=False)

  def __call__(self, z: np.ndarray, mean: np.ndarray, log_var: np.ndarray) -> np.ndarray:
    """float32 [M, Z], [N, Z], [N, Z] -> float32 [M]."""
    data = replicate({"mean": mean, "log_var": log_var}, self._mesh)
    return np.concatenate(list(self._parts(z, data)))

  def _parts(self, z: np.ndarray, data: PyTree) -> Iterator[np.ndarray]:
    for start in range(0, len(z), self._size):
      position = np.arange(start, start + self._size)[local_rows(self._size)]
      inputs = {"z": z[np.minimum(position, len(z) - 1)], "position": position.astype(np.int32)}
      values = self._step((), data, place_batch(inputs, self._mesh, 0))[1]
      yield np.asarray(values)[: len(z) - start]


def kl_per_dimension(mean: np.ndarray, log_var: np.ndarray) -> np.ndarray:
  """Returns KL(N(mean, e^log_var) || N(0, 1)) of each latent in nats, the mean over images: [N, Z], [N, Z] -> [Z]."""
  return np.mean(0.5 * (mean**2 + np.exp(log_var) - 1.0 - log_var), axis=0)


def activity(mean: np.ndarray) -> np.ndarray:
  """Returns Var_x E[z|x] of each latent, [N, Z] -> [Z] (Burda et al. 2016, arXiv:1509.00519, Section 5.2)."""
  return np.var(mean, axis=0, ddof=1)


def active_units(mean: np.ndarray, threshold: float, seed: int) -> Score:
  """Counts the latents with an `activity` above ``threshold``; the error is the spread over resampled images."""
  generator = np.random.Generator(np.random.Philox(seed))
  count = len(mean)
  centred = mean - mean.mean(axis=0)
  weights = generator.multinomial(count, np.full(count, 1.0 / count), size=RESAMPLES) / count
  variances = weights @ centred**2 - (weights @ centred) ** 2
  spread = np.std(np.sum(variances > threshold, axis=1), ddof=1)
  value = float(np.sum(activity(mean) > threshold))
  method = f"Var E[z|x] > {threshold:g}, {count} images, bootstrap of {RESAMPLES}"
  return Score(value, float(spread), method, range=(0.0, mean.shape[1]))


def aggregate_scores(mean: np.ndarray, log_var: np.ndarray) -> dict[str, Score]:
  """Compares the first two moments of q(z) with those of N(0, I), from posteriors [N, Z].

  Returns:
    "aggregate_mean_norm", |E z|, and "aggregate_covariance_error", the Frobenius norm of Cov z - I, with the spread of
    their linear parts over images. If q(z) is N(0, I) they are not 0, but at most about sqrt(Z / N) and Z / sqrt(N).
  """
  count, z_dim = mean.shape
  centre, covariance = aggregate_moments(mean, log_var)
  centred, gap = mean - centre, covariance - np.eye(z_dim)
  mean_norm, error = float(np.linalg.norm(centre)), float(np.linalg.norm(gap))
  along_mean = centred @ centre / (mean_norm or 1.0)
  along_gap = np.exp(log_var) @ np.diag(gap) + np.einsum("ni,ij,nj->n", centred, gap, centred, optimize=True)
  method = f"{count} images, against N(0, I), delta method"

  def spread(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1) / math.sqrt(count))

  return {
    "aggregate_mean_norm": Score(mean_norm, spread(along_mean), method, range=(0.0, math.inf)),
    "aggregate_covariance_error": Score(error, spread(along_gap / (error or 1.0)), method, range=(0.0, math.inf)),
  }


def aggregate_moments(mean: np.ndarray, log_var: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns the exact mean [Z] and covariance [Z, Z] of the mixture q(z) of posteriors [N, Z]."""
  centre = mean.mean(axis=0)
  centred = mean - centre
  return centre, centred.T @ centred / len(mean) + np.diag(np.exp(log_var).mean(axis=0))


@dataclasses.dataclass(frozen=True)
class Latents:
  """Computes active units, both parts of the rate, and the distance of q(z) from N(0, I).

  The arrays are "kl_per_dimension" [Z] (to N(0, 1): the parts of the rate if the prior is N(0, I)), "activity" [Z],
  "aggregate_mean" [Z] and "aggregate_covariance" [Z, Z]. The posterior must be a Gaussian of independent latents. For a
  conditional model, q(z) covers the images of all labels; for a single label it may be further from p(z).

  Attributes:
    threshold: activity above which a unit counts as active.
    samples: draws of z for each image, for the mutual information and the marginal KL.
    block: number of draws, and of posteriors, at a time on a device; only speed and memory depend on it.
  """

  threshold: float = 0.01
  samples: int = 1
  block: int = 500
  better: ClassVar[dict[str, str]] = {
    "active_units": "",
    "mutual_information": "",
    "marginal_kl": "min",
    "aggregate_mean_norm": "min",
    "aggregate_covariance_error": "min",
  }

  def __post_init__(self):
    check_positive(self, "samples", "block")
    if self.threshold < 0:
      raise ConfigError(f"threshold={self.threshold} must be 0 or more")

  def __call__(self, model: Model, feed: EvalFeed) -> LikelihoodResult:
    """Scores all images of the split.

    Raises:
      ConfigError: a posterior without moments in closed form.
    """
    algorithm = model.algorithm

    def values(state: PyTree, batch: Batch, rng: Array) -> dict[str, Array]:
      mean, log_var = algorithm.posterior_moments(state, batch)
      z, log_q = algorithm.posterior_sample(state, batch, random.stream(rng, "latents"), self.samples)
      flat = jnp.concatenate([layer.reshape(self.samples, len(mean), -1) for layer in jax.tree.leaves(z)], axis=-1)
      log_p = algorithm.log_prior(state, batch, z)
      drawn = {name: jnp.swapaxes(a, 0, 1) for name, a in {"z": flat, "log_q": log_q, "log_p": log_p}.items()}
      return {"mean": mean, "log_var": log_var, **drawn}

    posteriors = model.per_image(self, values)
    mixture = model.compiled((self, "mixture"), lambda: Mixture(model.mesh, self.block))
    found = posteriors(model.state, feed)
    z = found["z"].reshape(-1, found["z"].shape[-1])
    log_marginal = mixture(z, found["mean"], found["log_var"]).reshape(found["log_q"].shape)
    # Means over the draws of each image. To first order, an image's part in the mixture adds nothing to the error of
    # the mean: E_q(z)[q(z|x) / q(z)] is 1 for each x.
    log_q, log_p = found["log_q"].astype(np.float64), found["log_p"].astype(np.float64)
    per_image: dict[str, np.ndarray] = {
      "mutual_information": (log_q - log_marginal).mean(axis=1),
      "marginal_kl": (log_marginal - log_p).mean(axis=1),
    }
    mean, log_var = found["mean"].astype(np.float64), found["log_var"].astype(np.float64)
    count = len(mean)
    method = f"{self.samples} {'draw' if self.samples == 1 else 'draws'} each, q(z) of all {count} (own one included)"
    centre, covariance = aggregate_moments(mean, log_var)
    return LikelihoodResult(
      scores={
        "active_units": active_units(mean, self.threshold, model.config.seed),
        "mutual_information": mean_score(per_image["mutual_information"], f"{method}, at most {math.log(count):.2f}"),
        "marginal_kl": mean_score(per_image["marginal_kl"], method),
        **aggregate_scores(mean, log_var),
      },
      per_image=per_image,
      arrays={
        "kl_per_dimension": kl_per_dimension(mean, log_var),
        "activity": activity(mean),
        "aggregate_mean": centre,
        "aggregate_covariance": covariance,
      },
    )
