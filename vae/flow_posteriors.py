"""Posteriors q(z|x) beyond the Gaussian: a draw from one that passes through flows with parameters from x."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from common.errors import ConfigError
from common.types import Array
from vae.flows.autoregressive import AutoregressiveStep
from vae.flows.planar import planar
from vae.posteriors import DiagonalGaussian, Draw


class InverseAutoregressive(nn.Module):
  """Inverse autoregressive flow from a diagonal Gaussian (Kingma et al. 2016, arXiv:1606.04934, Algorithm 1).

  stats = [mean | log_var | h]. The order of the coordinates is reversed from step to step.

  Attributes:
    steps: T of the paper.
    width: units of a hidden layer of a step's network.
    layers: its hidden layers, 1 or more.
    context: size of h, through which the steps depend on x; 0 for the same steps for all x.
    log_var_range: the Gaussian's, as in DiagonalGaussian.
  """

  steps: int = 4
  width: int = 128
  layers: int = 1
  context: int = 64
  log_var_range: tuple[float, ...] = ()
  gives = frozenset({"density", "real"})

  def __post_init__(self):
    _check_positive(steps=self.steps, width=self.width, layers=self.layers)
    DiagonalGaussian(self.log_var_range, parent=None)  # its check of the range
    super().__post_init__()

  @nn.nowrap
  def num_stats(self, z_dim: int) -> int:
    """Number of statistics that the encoder gives for z of size z_dim."""
    return 2 * z_dim + self.context

  @nn.compact
  def __call__(self, stats: Array, keys: Array, *, train: bool) -> Draw:
    """A draw with ``keys`` [B], and its density."""
    size = stats.shape[-1] - self.context
    gaussian, h = stats[:, :size], stats[:, size:] if self.context else None
    base = DiagonalGaussian(self.log_var_range)
    z = base(gaussian, keys, train=train).z
    log_q = base.log_prob(z, gaussian)
    order = tuple(range(size // 2))
    for i in range(self.steps):
      step = AutoregressiveStep(order[::-1] if i % 2 else order, self.width, self.layers, name=f"step_{i}")
      z, log_det = step(z, h)
      log_q -= log_det
    return Draw(z, log_q)


class Planar(nn.Module):
  """Planar flows from a diagonal Gaussian, each x with parameters of its own (Rezende & Mohamed 2015, Section 4).

  stats = [mean | log_var | u of each step | w of each step | b of each step]; the module has no parameters.

  Attributes:
    steps: K of the paper.
    log_var_range: the Gaussian's, as in DiagonalGaussian.
  """

  steps: int = 8
  log_var_range: tuple[float, ...] = ()
  gives = frozenset({"density", "real", "layers"})

  def __post_init__(self):
    _check_positive(steps=self.steps)
    DiagonalGaussian(self.log_var_range, parent=None)  # its check of the range
    super().__post_init__()

  @nn.nowrap
  def num_stats(self, z_dim: int) -> int:
    """Number of statistics that the encoder gives for z of size z_dim."""
    return 2 * z_dim + self.steps * (2 * z_dim + 1)

  @nn.compact
  def __call__(self, stats: Array, keys: Array, *, train: bool) -> Draw:
    """A draw with ``keys`` [B], and its density."""
    z_dim = (stats.shape[-1] - self.steps) // (2 + 2 * self.steps)
    gaussian, vectors, b = jnp.split(stats, [2 * z_dim, stats.shape[-1] - self.steps], axis=-1)
    u, w = jnp.moveaxis(vectors.reshape(-1, 2, self.steps, z_dim), 0, 2)
    base = DiagonalGaussian(self.log_var_range)
    z = base(gaussian, keys, train=train).z
    log_q = base.log_prob(z, gaussian)

    def step(z: Array, parameters: tuple[Array, Array, Array]) -> tuple[Array, Array]:
      return planar(z, *parameters)

    z, log_dets = jax.lax.scan(step, z, (u, w, b.T))
    return Draw(z, log_q - jnp.sum(log_dets, axis=0))


def _check_positive(**values: int) -> None:
  for name, value in values.items():
    if value < 1:
      raise ConfigError(f"{name}={value} must be 1 or more")
