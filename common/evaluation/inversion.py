"""Finds latents whose pictures are given ones, by gradient descent through a decoder (Bora et al. 2017,
arXiv:1703.03208, Eq. 3, with the identity as measurement and without the prior's term)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from common.types import Array, Images, Latents


class Inverted(NamedTuple):
  """Latents of N images, and the mean squared error of each image's pixels under them, [N]."""

  z: Latents
  error: Array


def invert(
  decode: Callable[[Latents], Images], candidates: Latents, images: Images, *, steps: int, learning_rate: float
) -> Inverted:
  """Minimises each image's mean squared error over z with Adam, and keeps the best z on the way.

  Args:
    decode: maps latents [N, ...] to images [N, H, W, C]; rows must not depend on each other.
    candidates: latents [M, ...], the nearest of which each image starts from.
    images: the targets, [N, H, W, C].
    steps: updates of Adam, whose rate falls to 0 on a cosine.
    learning_rate: its start, in units of the latents.
  """

  def errors(z: Latents, images: Images) -> Array:
    return jnp.mean((decode(z) - images) ** 2, axis=(1, 2, 3))

  drawn = decode(candidates)
  flat, targets = drawn.reshape(len(drawn), -1), images.reshape(len(images), -1)
  distances = jnp.sum(targets**2, axis=1)[:, None] - 2.0 * targets @ flat.T + jnp.sum(flat**2, axis=1)
  z = jax.tree.map(lambda x: x[jnp.argmin(distances, axis=1)], candidates)
  tx = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))

  def update(carry: tuple, _: None) -> tuple[tuple, None]:
    z, opt_state, best = carry
    error, pull = jax.vjp(lambda z: errors(z, images), z)
    better = error < best.error
    keep = jax.tree.map(lambda new, old: jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old), z, best.z)
    updates, opt_state = tx.update(pull(jnp.ones_like(error))[0], opt_state)
    return (optax.apply_updates(z, updates), opt_state, Inverted(keep, jnp.minimum(error, best.error))), None

  best = Inverted(z, jnp.full(len(images), jnp.inf))
  (z, _, best), _ = jax.lax.scan(update, (z, tx.init(z), best), None, length=steps + 1)
  return best
