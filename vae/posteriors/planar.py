"""Planar flows from a diagonal Gaussian (Rezende & Mohamed 2015, arXiv:1505.05770, Section 4)."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.errors import ConfigError
from common.types import Array
from vae.posteriors.gaussian import DiagonalGaussian, Draw

MIN_SLOPE = 1e-3  # of the flow along w; at 0 it would fold z into a plane of infinite density
_P = -math.expm1(MIN_SLOPE - 1.0)  # the slope of m at 0


def planar(z: Array, u: Array, w: Array, b: Array) -> tuple[Array, Array]:
  """f(z) = z + u_hat tanh(w^T z + b) and log|det df/dz| (Eq. 10, 12): [..., Z] thrice, [...] -> [..., Z], [...]."""
  u_hat, slope = invertible(u, w)
  h = jnp.tanh(jnp.sum(w * z, axis=-1) + b)
  return z + u_hat * h[..., None], jnp.log1p((1.0 - h**2) * slope)


def invertible(u: Array, w: Array) -> tuple[Array, Array]:
  """u_hat = u + (m(w^T u) - w^T u) w / |w|^2, and m(w^T u) = w^T u_hat, [..., Z] -> [..., Z], [...] (App. A.1).

  The paper's m(x) = softplus(x) - 1 is -0.31 at 0, so that u_hat grows beyond bounds as w shrinks. Here it is
  softplus(x + c) - (1 - MIN_SLOPE) with c such that m(0) = 0: u = 0 is the identity, and u_hat is at most twice as long
  as u.
  """
  x = jnp.sum(w * u, axis=-1)
  # m(x) = log((1 - p) + p e^x), written by the side of 0: small x keep their digits, and large ones do not overflow.
  tail = jnp.expm1(jnp.where(x > 0, -x, x))
  above, below = jnp.log1p((1.0 - _P) * tail), jnp.log1p(_P * tail)
  slope = jnp.where(x > 0, x + above, below)
  square = jnp.sum(w**2, axis=-1)
  # Where w is close to 0 the flow is a translation, whatever u is along w.
  correction = jnp.where(x > 0, above, below - x) / jnp.where(square > 1e-16, square, 1.0)
  return u + correction[..., None] * w, slope


class Planar(nn.Module):
  """A diagonal Gaussian and K planar flows, whose parameters the encoder gives for each x.

  stats = [mean | log_var | u of each step | w of each step | b of each step]; the module has no parameters.

  Attributes:
    steps: K of the paper.
  """

  steps: int = 8
  gives = frozenset({"density", "real", "layers"})

  def __post_init__(self):
    if self.steps < 1:
      raise ConfigError(f"steps={self.steps} must be 1 or more")
    super().__post_init__()

  @nn.nowrap
  def num_stats(self, z_dim: int) -> int:
    return 2 * z_dim + self.steps * (2 * z_dim + 1)

  @nn.compact
  def __call__(self, stats: Array, keys: Array, *, train: bool) -> Draw:
    z_dim = (stats.shape[-1] - self.steps) // (2 + 2 * self.steps)
    gaussian, vectors, b = jnp.split(stats, [2 * z_dim, stats.shape[-1] - self.steps], axis=-1)
    u, w = jnp.moveaxis(vectors.reshape(-1, 2, self.steps, z_dim), 0, 2)
    base = DiagonalGaussian()(gaussian, keys, train=train)
    z, log_dets = jax.lax.scan(lambda z, step: planar(z, *step), base.z, (u, w, b.T))
    return Draw(z, base.log_q - jnp.sum(log_dets, axis=0))
