"""The diagonal Gaussian, and the point that is left of it without a deviation."""

import flax.linen as nn
import flax.struct
import jax.numpy as jnp

from common import random
from common.errors import ConfigError
from common.types import Array
from vae.gaussian import gaussian_log_prob


class Draw(flax.struct.PyTreeNode):
  """One draw of q(z|x) for each image.

  Attributes:
    z: [B, Z].
    log_q: log q(z|x) in nats [B]; infinite where q is a point.
    penalties: {name: [B]} that the step adds to any loss.
    figures: {name: [B, ...]} for the log, whose means over the images are meaningful.
  """

  z: Array
  log_q: Array
  penalties: dict[str, Array] = flax.struct.field(default_factory=dict)
  figures: dict[str, Array] = flax.struct.field(default_factory=dict)


class DiagonalGaussian(nn.Module):
  """N(mean, diag e^log_var), by the reparameterisation of Kingma & Welling 2013, Section 2.4.

  Attributes:
    log_var_range: (low, high) to which the log-variance is clipped, without a gradient beyond; () clips nothing.
    softplus: whether the encoder's second half gives the deviation as 1e-6 + softplus (in the code of Lucic et al. 2018
      and of Dai & Wipf 2019) instead of the log-variance.
  """

  log_var_range: tuple[float, ...] = ()
  softplus: bool = False
  gives = frozenset({"density", "real", "gaussian", "map", "layers"})

  def __post_init__(self):
    bounds = tuple(self.log_var_range)
    if bounds and not (len(bounds) == 2 and bounds[0] < bounds[1]):
      raise ConfigError(
        f'log_var_range={bounds} must be (low, high) with low < high; --.log_var_range="()" is for no clipping'
      )
    super().__post_init__()

  @staticmethod
  def num_stats(z_dim: int) -> int:
    return 2 * z_dim

  def split(self, stats: Array) -> tuple[Array, Array]:
    """[..., 2 Z] -> mean, log_var."""
    mean, log_var = jnp.split(stats, 2, axis=-1)
    if self.softplus:
      log_var = 2.0 * jnp.log(1e-6 + nn.softplus(log_var))
    return mean, jnp.clip(log_var, *self.log_var_range) if self.log_var_range else log_var

  def log_prob(self, z: Array, stats: Array) -> Array:
    """log q(z|x), [..., Z], [..., 2 Z] -> [...]."""
    return gaussian_log_prob(z, *self.split(stats))

  def __call__(self, stats: Array, keys: Array, *, train: bool) -> Draw:
    mean, log_var = self.split(stats)
    z = mean + jnp.exp(0.5 * log_var) * random.normal(keys, mean.shape[1:])
    return Draw(z, gaussian_log_prob(z, mean, log_var))


class Deterministic(nn.Module):
  """The point z = stats: an autoencoder (Rumelhart et al. 1986), whose z has no density and no rate."""

  gives = frozenset({"point", "real", "map"})

  @staticmethod
  def num_stats(z_dim: int) -> int:
    return z_dim

  def __call__(self, stats: Array, keys: Array, *, train: bool) -> Draw:
    return Draw(stats, jnp.full(len(stats), jnp.inf))
