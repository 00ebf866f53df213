"""Codes: the nearest entries of a codebook, k-means, and how codes are used."""

import jax
import jax.numpy as jnp
from jax import lax

from common.errors import ConfigError
from common.types import Array


def nearest(points: Array, centers: Array) -> Array:
  """Returns the number of the nearest center, [..., D], [K, D] -> int32 [...]."""
  # Squares lose the digits that a common offset takes, so that goes first.
  middle = jnp.mean(centers, axis=0)
  points, centers = points - middle, centers - middle
  products = jnp.einsum("...d,kd->...k", points, centers, precision="highest")
  return jnp.argmin(0.5 * jnp.sum(centers**2, axis=-1) - products, axis=-1).astype(jnp.int32)


def kmeans(points: Array, centers: Array, steps: int) -> Array:
  """Takes ``steps`` of Lloyd, [N, D], [K, D] -> [K, D]; a center that is nearest to no point stays."""

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
  """Counts the codes with any share, [K] -> []."""
  return jnp.sum(usage > 0.0)


def positions(z_dim: int, code_dim: int) -> int:
  """Returns the number of codes in z.

  Raises:
    ConfigError: codes do not fill z.
  """
  if z_dim % code_dim:
    raise ConfigError(
      f"z_dim={z_dim} is not a multiple of code_dim={code_dim}, the size of one code; "
      f"take --config.model.z_dim={z_dim + -z_dim % code_dim}"
    )
  return z_dim // code_dim
