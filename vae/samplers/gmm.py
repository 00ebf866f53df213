"""Gaussians with full covariances (Ghosh et al. 2020, arXiv:1903.12436, Section 4: ten of them)."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from common import random
from common.errors import ConfigError
from common.types import Array, PyTree
from vae.codes import kmeans, nearest

LOG_2PI = math.log(2.0 * math.pi)
LLOYD_STEPS = 20


class FullMixture(nn.Module):
  """sum_k w_k N(mean_k, C_k), C_k^-1 = A_k A_k^T with a lower triangular A_k: the density needs no linear solver.

  Attributes:
    z_dim: size of z.
    components: how many.
    min_deviation: least conditional deviation of a latent given those after it, without which a component may shrink
      to a point. In units of the latents' deviation.
  """

  z_dim: int
  components: int = 10
  min_deviation: float = 1e-3

  def __post_init__(self):
    if self.components < 1:
      raise ConfigError(f"components={self.components} must be 1 or more")
    if not 0.0 < self.min_deviation < 1.0:
      raise ConfigError(f"min_deviation={self.min_deviation} must be in (0, 1)")
    super().__post_init__()

  def setup(self) -> None:
    zeros, size = nn.initializers.zeros_init(), self.z_dim
    self.logits = self.param("logits", zeros, (self.components,))
    self.mean = self.param("mean", zeros, (self.components, size))
    self.log_diagonal = self.param("log_diagonal", zeros, (self.components, size))
    self.lower = self.param("lower", zeros, (self.components, size, size))

  def _log_diagonal(self) -> Array:
    return jnp.minimum(self.log_diagonal, -math.log(self.min_deviation))

  def _factor(self) -> Array:
    """A, [K, Z, Z]."""
    diagonal = jnp.exp(self._log_diagonal())
    return jnp.tril(self.lower, -1) + diagonal[:, :, None] * jnp.eye(self.z_dim)

  def log_prob(self, z: Array) -> Array:
    """log p(z) in nats, [..., Z] -> [...]."""
    white = jnp.einsum("...kz,kzy->...ky", z[..., None, :] - self.mean, self._factor(), precision="highest")
    parts = jnp.sum(self._log_diagonal(), axis=-1) - 0.5 * jnp.sum(white**2 + LOG_2PI, axis=-1)
    return jax.nn.logsumexp(parts + jax.nn.log_softmax(self.logits), axis=-1)

  def sample(self, rows: Array) -> Array:
    """keys [B] -> z [B, Z]; row i depends on key i only."""
    # Gumbel's trick, as in vae/priors.py.
    noise = random.uniform(random.row_stream(rows, "component"), (self.components,), low=1e-7)
    k = jnp.argmax(jax.nn.log_softmax(self.logits) - jnp.log(-jnp.log(noise)), axis=-1)
    white, factor = random.normal(rows, (self.z_dim,)), self._factor()
    # z - mean = A^-T white of every component, of which one is taken.
    solve = functools.partial(jax.scipy.linalg.solve_triangular, lower=True, trans=1)
    offsets = jax.vmap(lambda a: solve(a, white.T).T)(factor)
    return self.mean[k] + offsets[k, jnp.arange(len(rows))]


def start_mixture(params: PyTree, z: np.ndarray) -> PyTree:
  """``params`` at the clusters of z [N, Z] of unit deviation: centres, shares, and covariances.

  Centres by k-means from points far apart. A cluster's covariance is that of its points, and of all points as if Z
  more of the cluster were as those: a cluster may have fewer points than a covariance has numbers.
  """
  components, size = params["mean"].shape
  if len(z) <= components:
    raise ConfigError(f"config.sampler.components={components} needs more latents than the {len(z)} there are")
  points = jnp.asarray(z)
  mean = np.asarray(kmeans(points, jnp.asarray(far_apart(z, components)), LLOYD_STEPS))
  member = np.asarray(nearest(points, jnp.asarray(mean)))
  whole = np.cov(z, rowvar=False).reshape(size, size)
  log_diagonal, lower, share = np.empty((components, size)), np.empty((components, size, size)), np.empty(components)
  for k in range(components):
    own = z[member == k].astype(np.float64) - mean[k]
    share[k] = (len(own) + 1.0) / (len(z) + components)
    covariance = (own.T @ own + size * whole) / (len(own) + size) + 1e-6 * np.eye(size)
    # A A^T = C^-1, lower triangular.
    factor = np.linalg.cholesky(np.linalg.inv(covariance))
    log_diagonal[k], lower[k] = np.log(np.diag(factor)), np.tril(factor, -1)
  return {"logits": np.log(share), "mean": mean, "log_diagonal": log_diagonal, "lower": lower}


def far_apart(z: np.ndarray, count: int) -> np.ndarray:
  """``count`` of z [N, Z], each drawn by its squared distance to the nearest before (Arthur & Vassilvitskii 2007)."""
  generator = np.random.Generator(np.random.Philox(key=0))
  chosen = [int(generator.integers(len(z)))]
  distance = np.full(len(z), np.inf)
  for _ in range(count - 1):
    distance = np.minimum(distance, np.sum((z - z[chosen[-1]]).astype(np.float64) ** 2, axis=-1))
    total = np.cumsum(distance)
    chosen.append(int(np.searchsorted(total, generator.random() * total[-1], side="right").clip(0, len(z) - 1)))
  return z[chosen]
