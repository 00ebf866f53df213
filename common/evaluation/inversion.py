"""Finds latents whose pictures are given ones, or have given measurements, by gradient descent through a decoder (Bora
et al. 2017, arXiv:1703.03208, Eq. 3)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from common.types import Array, Images, Latents


class Inverted(NamedTuple):
  """Latents of N images, and the objective of each image under them, [N]."""

  z: Latents
  error: Array


def invert(
  decode: Callable[[Latents], Images],
  candidates: Latents,
  images: Array,
  *,
  steps: int,
  learning_rate: float,
  penalty: float = 0.0,
  restarts: int = 1,
) -> Inverted:
  """Minimises mean (decode(z) - image)^2 + penalty |z|^2 of each image over z with Adam, and keeps the best z met.

  Args:
    decode: maps latents [N, ...] to images, or to measurements of them, [N, ...]; rows must not depend on each other.
    candidates: latents [M, ...], of which each image starts from the nearest.
    images: the images or measurements, [N, ...].
    steps: updates of Adam, whose rate falls to 0 on a cosine.
    learning_rate: its start, in units of the latents.
    penalty: weight of the squared length of z, for latents from N(0, I).
    restarts: number of candidates that each image starts from, M at most; the best result is kept.
  """
  num = len(images)

  def errors(z: Latents, images: Array) -> Array:
    error = jnp.mean((decode(z) - images).reshape(len(images), -1) ** 2, axis=1)
    return error + penalty * sum(jnp.sum(x.reshape(len(x), -1) ** 2, axis=1) for x in jax.tree.leaves(z))

  drawn = decode(candidates)
  flat, targets = drawn.reshape(len(drawn), -1), images.reshape(num, -1)
  distances = jnp.sum(targets**2, axis=1)[:, None] - 2.0 * targets @ flat.T + jnp.sum(flat**2, axis=1)
  nearest = jax.lax.top_k(-distances, restarts)[1].reshape(-1)  # [N * restarts]
  z = jax.tree.map(lambda x: x[nearest], candidates)
  images = jnp.repeat(images, restarts, axis=0)
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
  choice = jnp.argmin(best.error.reshape(num, restarts), axis=1) + restarts * jnp.arange(num)
  return jax.tree.map(lambda x: x[choice], best)
