"""How labels reach the two networks."""

import dataclasses

import jax
import jax.numpy as jnp

from common.algorithm import Array
from common.build import ConfigError


@dataclasses.dataclass(frozen=True)
class Unconditional:
  """Labels are not used."""

  conditional = False

  def latents(self, z: Array, labels: Array | None) -> Array:
    return z

  def images(self, x: Array, labels: Array | None) -> Array:
    return x


@dataclasses.dataclass(frozen=True)
class Concat:
  """The label as one-hot values beside z, and as one-hot feature maps beside x (Mirza & Osindero 2014)."""

  num_classes: int

  conditional = True

  def __post_init__(self):
    if not self.num_classes:
      raise ConfigError('"concat" needs labels, and this data set has none; use {"name": "none"}')

  def latents(self, z: Array, labels: Array | None) -> Array:
    """[B, Z], [B] -> [B, Z + classes]."""
    return jnp.concatenate([z, jax.nn.one_hot(labels, self.num_classes)], axis=-1)

  def images(self, x: Array, labels: Array | None) -> Array:
    """[B, H, W, C], [B] -> [B, H, W, C + classes]."""
    maps = jax.nn.one_hot(labels, self.num_classes)[:, None, None, :]
    return jnp.concatenate([x, jnp.broadcast_to(maps, (*x.shape[:3], self.num_classes))], axis=-1)


CONDITIONING = {"none": Unconditional, "concat": Concat}
