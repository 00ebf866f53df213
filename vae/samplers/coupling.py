"""A density of vectors by affine couplings (Dinh et al. 2017, arXiv:1605.08803: Real NVP)."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from common import random
from common.errors import ConfigError
from common.types import Array, Given
from vae.gaussian import gaussian_log_prob
from vae.samplers.density import Density


class Conditioner(nn.Module):
  """The log-scale and shift of some coordinates as functions of those that it keeps; 0 at the start."""

  keep: tuple[bool, ...]
  width: int
  depth: int
  max_log_scale: float

  @nn.compact
  def __call__(self, x: Array) -> tuple[Array, Array]:
    """[..., Z] -> log_scale, shift, [..., Z] each, which are 0 at the coordinates with ``keep``."""
    keep = np.array(self.keep)
    h = jnp.where(keep, x, 0.0)
    for _ in range(self.depth):
      h = nn.relu(nn.Dense(self.width)(h))
    h = nn.Dense(2 * len(keep), kernel_init=nn.initializers.zeros_init())(h)
    log_scale, shift = jnp.split(h, 2, axis=-1)
    log_scale = self.max_log_scale * jnp.tanh(log_scale / self.max_log_scale)
    return jnp.where(keep, 0.0, log_scale), jnp.where(keep, 0.0, shift)


class CouplingFlow(Density):
  """x = f(z) ~ N(0, I) with f an elementwise affine map and couplings x * e^log_scale + shift (Eq. 7, 8).

  Starts as N(0, I). Two couplings move every coordinate once; pairs split the coordinates by parity and by halves in
  turn, so that no permutation is needed between them.

  Couplings with a bounded scale suit z of about unit scale. The affine map takes up the rest: its parameters "shift"
  and "log_scale", [Z] each, are learned too, from 0, which is slow for latents far from unit scale.

  Attributes:
    z_dim: size of z, 2 or more.
    layers: couplings, 2 or more.
    width: units of a hidden layer of a coupling's network.
    depth: its hidden layers.
    max_log_scale: bound of a coupling's log-scale.
  """

  z_dim: int
  layers: int = 8
  width: int = 128
  depth: int = 2
  max_log_scale: float = 2.0
  needs = frozenset({"real"})

  def __post_init__(self):
    for name, least in (("z_dim", 2), ("layers", 2), ("width", 1)):
      if getattr(self, name) < least:
        raise ConfigError(f"{name}={getattr(self, name)} must be {least} or more for couplings to move all coordinates")
    if not self.max_log_scale > 0:
      raise ConfigError(f"max_log_scale={self.max_log_scale} must be more than 0")
    super().__post_init__()

  def setup(self):
    zeros = nn.initializers.zeros_init()
    self.shift = self.param("shift", zeros, (self.z_dim,))
    self.log_scale = self.param("log_scale", zeros, (self.z_dim,))
    self.couplings = [
      Conditioner(self._keep(i), self.width, self.depth, self.max_log_scale) for i in range(self.layers)
    ]

  def _keep(self, layer: int) -> tuple[bool, ...]:
    """Returns, in turn: parity, the other parity, the first half, the second half."""
    index = np.arange(self.z_dim)
    split = index % 2 == 0 if layer // 2 % 2 == 0 else index < self.z_dim // 2
    return tuple((split ^ (layer % 2 == 1)).tolist())

  def forward(self, z: Array) -> tuple[Array, Array]:
    """z [..., Z] -> x [..., Z], and log|det dx/dz| [...]."""
    x = (z - self.shift) * jnp.exp(-self.log_scale)
    log_det = -jnp.sum(self.log_scale)
    for coupling in self.couplings:
      log_scale, shift = coupling(x)
      x = x * jnp.exp(log_scale) + shift
      log_det += jnp.sum(log_scale, axis=-1)
    return x, log_det

  def inverse(self, x: Array) -> Array:
    """x [..., Z] -> z [..., Z]."""
    for coupling in reversed(self.couplings):
      log_scale, shift = coupling(x)
      x = (x - shift) * jnp.exp(-log_scale)
    return x * jnp.exp(self.log_scale) + self.shift

  def log_prob(self, z: Array, given: Given = None, keys: Array | None = None, *, train: bool = False) -> Array:
    """log p(z) in nats, [..., Z] -> [...]."""
    x, log_det = self.forward(z)
    return gaussian_log_prob(x, 0.0, 0.0) + log_det

  def sample(self, keys: Array, given: Given = None) -> Array:
    """keys [B] -> z [B, Z]; row i depends on key i only."""
    return self.inverse(random.normal(keys, (self.z_dim,)))
