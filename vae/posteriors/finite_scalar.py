"""Latents that are rounded number by number (Mentzer et al. 2023, arXiv:2309.15505: finite scalar quantization)."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common.errors import ConfigError
from common.types import Array
from vae.codes import positions
from vae.posteriors.gaussian import Draw

MARGIN = 1e-3  # of the range of the tanh, whose ends would lie between two levels


class FiniteScalar(nn.Module):
  """All mass on the rounded outputs of the encoder, of which number i has ``levels[i]`` values (Section 3, App. A.1).

  The outputs are squashed by a tanh first, for an even number of levels shifted by half of one, and scaled to [-1, 1]
  afterwards. The codebook is the grid of all values: nothing of it is learned, no penalty is needed, no code dies.

  Attributes:
    levels: number of values of each number of a code; their product is the number of codes.
  """

  levels: tuple[int, ...] = (8, 5, 5, 5)
  gives = frozenset({"density", "codes", "map"})  # log q is 0 at the codes of x
  remedy = "posterior.levels of a smaller product, a larger learning rate"

  def __post_init__(self):
    if not self.levels or min(self.levels) < 2:
      raise ConfigError(f"levels={tuple(self.levels)} must be numbers of 2 or more; take --.levels='(8, 5, 5, 5)'")
    super().__post_init__()

  @property
  def num_codes(self) -> int:
    """The number of codes."""
    return math.prod(self.levels)

  @property
  def code_dim(self) -> int:
    """The size of a code."""
    return len(self.levels)

  def num_stats(self, z_dim: int) -> int:
    positions(z_dim, self.code_dim)
    return z_dim

  def __call__(self, stats: Array, keys: Array, *, train: bool) -> Draw:
    """Rounds ``stats`` [B, Z]; the gradient passes the rounding unchanged ("straight-through").

    Returns:
      z, log_q = 0, no penalty, and the figure "code_usage" [B, K], the share of the image's positions at each code.
    """
    bounded = self._bounded(stats)
    # In this form the value is a level to the last bit: bounded - bounded is 0.
    whole = jnp.round(lax.stop_gradient(bounded)) + (bounded - lax.stop_gradient(bounded))
    z = (whole / self._half()).reshape(stats.shape)
    usage = jnp.mean(jax.nn.one_hot(self.codes_of(z), self.num_codes), axis=1)
    return Draw(z, jnp.zeros(len(stats)), {}, {"code_usage": usage})

  def codes(self, stats: Array) -> Array:
    """Returns the numbers of the codes, [B, Z] -> int32 [B, P]."""
    return self._numbers(jnp.round(self._bounded(stats)))

  def lookup(self, codes: Array) -> Array:
    """int32 [B, P] -> z [B, Z]."""
    digits = codes[..., None] // self._basis() % np.asarray(self.levels)
    return ((digits - self._half()) / self._half()).astype(jnp.float32).reshape(len(codes), -1)

  def codes_of(self, z: Array) -> Array:
    """Returns the numbers of the codes in z, [B, Z] -> int32 [B, P]."""
    return self._numbers(jnp.round(z.reshape(len(z), -1, self.code_dim) * self._half()))

  def _bounded(self, stats: Array) -> Array:
    """[B, Z] -> float32 [B, P, D], between the outermost levels."""
    count = positions(stats.shape[-1], self.code_dim)
    reach = (np.asarray(self.levels) - 1) * (1 - MARGIN) / 2
    offset = np.where(np.asarray(self.levels) % 2, 0.0, 0.5)
    outputs = stats.astype(jnp.float32).reshape(-1, count, self.code_dim)
    # The paper's tangent brings 0 close to the middle of a level; the inverse of tanh has no value for two levels.
    return jnp.tanh(outputs + np.float32(np.tan(offset / reach))) * np.float32(reach) - np.float32(offset)

  def _numbers(self, whole: Array) -> Array:
    return jnp.sum((whole.astype(jnp.int32) + self._half()) * self._basis(), axis=-1).astype(jnp.int32)

  def _half(self) -> np.ndarray:
    return np.asarray(self.levels, np.int32) // 2

  def _basis(self) -> np.ndarray:
    return np.cumprod([1, *self.levels[:-1]]).astype(np.int32)
