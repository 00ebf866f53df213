"""Gaussians with full covariances (Ghosh et al. 2020, arXiv:1903.12436, Section 4: ten of them)."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from common import random
from common.errors import ConfigError
from common.types import Array, Given, PyTree
from vae.codes import kmeans, nearest
from vae.gaussian import gaussian_log_prob
from vae.samplers.density import Density

LLOYD_STEPS = 20
MIN_DEVIATION = 1e-3  # of a latent given those after it, without which a component may shrink to a point


class FullMixture(Density):
  """sum_k w_k N(mean_k, C_k), C_k^-1 = A_k A_k^T with a lower triangular A_k: the density needs no linear solver.

  Attributes:
    z_dim: size of z.
    components: number of Gaussians.
  """

  z_dim: int
  components: int = 10
  needs = frozenset({"real"})

  def __post_init__(self):
    if self.components < 1:
      raise ConfigError(f"components={self.components} must be 1 or more")
    super().__post_init__()

  def setup(self) -> None:
    zeros, size = nn.initializers.zeros_init(), self.z_dim
    self.logits = self.param("logits", zeros, (self.components,))
    self.mean = self.param("mean", zeros, (self.components, size))
    self.log_diagonal = self.param("log_diagonal", zeros, (self.components, size))
    self.lower = self.param("lower", zeros, (self.components, size, size))

  def _log_diagonal(self) -> Array:
    return jnp.minimum(self.log_diagonal, -math.log(MIN_DEVIATION))

  def _factor(self) -> Array:
    """A, [K, Z, Z]."""
    return jnp.tril(self.lower, -1) + jnp.exp(self._log_diagonal())[:, :, None] * jnp.eye(self.z_dim)

  def log_prob(self, z: Array, given: Given = None, keys: Array | None = None, *, train: bool = False) -> Array:
    """log p(z) in nats, [..., Z] -> [...]."""
    white = jnp.einsum("...kz,kzy->...ky", z[..., None, :] - self.mean, self._factor(), precision="highest")
    parts = jnp.sum(self._log_diagonal(), axis=-1) + gaussian_log_prob(white, 0.0, 0.0)
    return jax.nn.logsumexp(parts + jax.nn.log_softmax(self.logits), axis=-1)

  def sample(self, keys: Array, given: Given = None) -> Array:
    """Keys [B] -> z [B, Z]; row i depends on key i only."""
    k = random.categorical(random.row_stream(keys, "component"), jax.nn.log_softmax(self.logits))
    white, factor = random.normal(keys, (self.z_dim,)), self._factor()
    # z - mean = A^-T white is solved for every component, and each row takes that of its own.
    solve = functools.partial(jax.scipy.linalg.solve_triangular, lower=True, trans=1)
    offsets = jax.vmap(lambda a: solve(a, white.T).T)(factor)
    return self.mean[k] + offsets[k, jnp.arange(len(keys))]

  @nn.nowrap
  def start_at(self, z: np.ndarray) -> PyTree:
    """Parameters at clusters of z [N, Z] of unit deviation: their centres, shares and covariances.

    The centres are those of k-means from points far apart. A cluster may have fewer points than a covariance has
    entries; its covariance is therefore estimated as if it had Z more points, with the covariance of all points.

    Raises:
      ConfigError: no more points than components.
    """
    count, size = self.components, self.z_dim
    if len(z) <= count:
      raise ConfigError(f"config.sampler.components={count} needs more latents than the {len(z)} there are")
    points = jnp.asarray(z)
    mean = np.asarray(kmeans(points, jnp.asarray(far_apart(z, count)), LLOYD_STEPS))
    member = np.asarray(nearest(points, jnp.asarray(mean)))
    whole = np.cov(z, rowvar=False).reshape(size, size)
    log_diagonal, lower, share = np.empty((count, size)), np.empty((count, size, size)), np.empty(count)
    for k in range(count):
      own = z[member == k].astype(np.float64) - mean[k]
      share[k] = (len(own) + 1.0) / (len(z) + count)
      covariance = (own.T @ own + size * whole) / (len(own) + size) + 1e-6 * np.eye(size)
      factor = np.linalg.cholesky(np.linalg.inv(covariance))
      log_diagonal[k], lower[k] = np.log(np.diag(factor)), np.tril(factor, -1)
    return {"logits": np.log(share), "mean": mean, "log_diagonal": log_diagonal, "lower": lower}


def far_apart(z: np.ndarray, count: int) -> np.ndarray:
  """Draws ``count`` rows of z [N, Z], each by its squared distance to the nearest one drawn before (k-means++).

  Source: Arthur & Vassilvitskii 2007.
  """
  generator = np.random.Generator(np.random.Philox(key=0))
  chosen = [int(generator.integers(len(z)))]
  distance = np.full(len(z), np.inf)
  for _ in range(count - 1):
    distance = np.minimum(distance, np.sum((z - z[chosen[-1]]).astype(np.float64) ** 2, axis=-1))
    total = np.cumsum(distance)
    chosen.append(int(np.searchsorted(total, generator.random() * total[-1], side="right").clip(0, len(z) - 1)))
  return z[chosen]
