"""Codes: the nearest entries of a codebook, k-means, how codes are used, and the uniform distribution over them."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from common import random
from common.errors import ConfigError
from common.types import Array, Images


def nearest(points: Array, centers: Array) -> Array:
  """The number of the nearest center, [..., D], [K, D] -> int32 [...]."""
  # Squares lose the digits that a common offset takes, so that goes first.
  middle = jnp.mean(centers, axis=0)
  points, centers = points - middle, centers - middle
  products = jnp.einsum("...d,kd->...k", points, centers, precision="highest")
  return jnp.argmin(0.5 * jnp.sum(centers**2, axis=-1) - products, axis=-1).astype(jnp.int32)


def kmeans(points: Array, centers: Array, steps: int) -> Array:
  """Centers after ``steps`` of Lloyd, [N, D], [K, D] -> [K, D]; a center that is nearest to no point stays."""

  def lloyd(_: Array, centers: Array) -> Array:
    members = jax.nn.one_hot(nearest(points, centers), len(centers))
    size = jnp.sum(members, axis=0)[:, None]
    total = jnp.einsum("nk,nd->kd", members, points, precision="highest")
    return jnp.where(size > 0.0, total / jnp.maximum(size, 1.0), centers)

  return lax.fori_loop(0, steps, lloyd, centers)


def perplexity(usage: Array) -> Array:
  """e^entropy of the share of positions at each code, [K] -> []; K for uniform use, 1 for one code."""
  share = usage / jnp.sum(usage)
  return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(share, share)))


def codes_in_use(usage: Array) -> Array:
  """The number of codes with any share, [K] -> []."""
  return jnp.sum(usage > 0.0)


def positions(z_dim: int, code_dim: int) -> int:
  """The number of codes in z; raises ConfigError where they do not fill it."""
  if z_dim % code_dim:
    raise ConfigError(
      f"z_dim={z_dim} is not a multiple of code_dim={code_dim}, the numbers of one code; "
      f"take --config.model.z_dim={z_dim + -z_dim % code_dim}"
    )
  return z_dim // code_dim


def check_codes(num_codes: int, code_dim: int) -> None:
  """Raises ConfigError for a codebook of fewer than two entries or without numbers."""
  if num_codes < 2:
    raise ConfigError(f"num_codes={num_codes} must be 2 or more")
  if code_dim < 1:
    raise ConfigError(f"code_dim={code_dim} must be 1 or more")


class UniformCodes(nn.Module):
  """p(z) = 1 / K^P at each of the K^P quantized z (van den Oord et al. 2017, Section 3.1); its draws are codes.

  Attributes:
    z_dim: size of z.
    num_codes: K, entries of the codebook.
    code_dim: numbers of an entry.
  """

  z_dim: int
  num_codes: int
  code_dim: int
  needs = frozenset({"codes"})

  def __post_init__(self):
    check_codes(self.num_codes, self.code_dim)
    positions(self.z_dim, self.code_dim)
    super().__post_init__()

  def __call__(self, encode: Callable[[Images], tuple[Array, Array]]) -> "UniformCodes":
    """Itself: it does not depend on the encoder."""
    return self

  def log_prob(self, z: Array) -> Array:
    """-P log K for any z, [..., Z] -> [...]."""
    return jnp.full(z.shape[:-1], -positions(self.z_dim, self.code_dim) * jnp.log(self.num_codes))

  def sample_codes(self, keys: Array) -> Array:
    """Keys [B] -> int32 [B, P], for `VectorQuantized.lookup`."""
    places = jnp.arange(positions(self.z_dim, self.code_dim))
    return jax.vmap(lambda key: random.integers(random.row_keys(key, places), 0, self.num_codes))(keys)
