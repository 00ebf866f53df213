"""Objectives that hold the aggregate posterior to the prior by the maximum mean discrepancy."""

from collections.abc import Callable

import jax.numpy as jnp

from common.build import choose
from common.errors import ConfigError
from common.parallel import batch_gather
from common.types import Array
from vae.model import Terms
from vae.objectives.objective import Context, Objective, check_not_negative, distortion, rate

Kernel = Callable[[Array, int], Array]  # squared distances and the size of z -> values
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def inverse_multiquadratic(square: Array, z_dim: int) -> Array:
  """sum_s C / (C + d^2), C = 2 s Z (Tolstikhin et al. 2018, Section 4)."""
  return sum((2.0 * z_dim * s / (2.0 * z_dim * s + square) for s in SCALES), start=jnp.zeros(()))


def gaussian(square: Array, z_dim: int) -> Array:
  """exp(-d^2 / Z^2) (Zhao et al. 2017; their code divides a mean over Z by Z)."""
  return jnp.exp(-square / z_dim**2)


KERNELS: dict[str, Kernel] = {"imq": inverse_multiquadratic, "gaussian": gaussian}


def mmd(a: Array, b: Array, kernel: Kernel) -> Array:
  """Estimates MMD^2 between two samples without bias, [N, Z] each -> [] (Gretton et al. 2012, Eq. 3)."""

  def square(u: Array, v: Array) -> Array:
    return jnp.sum((u[:, None] - v[None]) ** 2, axis=-1)

  count, z_dim = a.shape
  off = 1.0 - jnp.eye(count)
  within = sum(jnp.sum(off * kernel(square(u, u), z_dim)) for u in (a, b)) / (count * (count - 1))
  return within - 2.0 * jnp.mean(kernel(square(a, b), z_dim))


def aggregate_mmd(terms: Terms, context: Context, kernel: Kernel, axis_name: str | None) -> Array:
  """MMD^2 between z of the global batch, all layers side by side, and as many draws from p(z); []."""
  z = jnp.concatenate([part[0] for part in terms.z], axis=-1)
  prior = jnp.concatenate(context.prior_sample(), axis=-1)
  return mmd(batch_gather(z, axis_name), batch_gather(prior, axis_name), kernel)


class Wae(Objective):
  """distortion + weight * MMD^2(q(z), p(z)) (Tolstikhin et al. 2018, arXiv:1711.01558, Algorithm 2, WAE-MMD).

  Attributes:
    weight: lambda of the paper.
    kernel: "imq", the paper's, or "gaussian".
    axis_name: mapped axis whose devices share the batch; None: the global view.
  """

  needs = frozenset({"real"})

  def __init__(self, weight: float = 10.0, kernel: str = "imq", axis_name: str | None = None):
    check_not_negative(weight=weight)
    self.weight, self.kernel, self.axis_name = weight, choose(KERNELS, kernel, "kernel"), axis_name

  def __call__(self, terms: Terms, context: Context) -> Array:
    return distortion(terms) + self.weight * aggregate_mmd(terms, context, self.kernel, self.axis_name)


class InfoVae(Objective):
  """distortion + (1 - alpha) rate + (alpha + weight - 1) MMD^2 (Zhao et al. 2017, arXiv:1706.02262, Eq. 6).

  Attributes:
    alpha: the share of the mutual information of x and z that costs nothing; 1: all of it ("MMD-VAE").
    weight: lambda of the paper.
    kernel: "gaussian", that of the first author's MMD-Variational-Autoencoder, or "imq".
    axis_name: mapped axis whose devices share the batch; None: the global view.
  """

  def __init__(
    self, alpha: float = 0.0, weight: float = 1000.0, kernel: str = "gaussian", axis_name: str | None = None
  ):
    if alpha > 1.0 or alpha + weight < 1.0:
      raise ConfigError(f"alpha={alpha} and weight={weight}: 1 - alpha and alpha + weight - 1 must be at least 0")
    self.alpha, self.weight = alpha, weight
    self.kernel, self.axis_name = choose(KERNELS, kernel, "kernel"), axis_name

  def __call__(self, terms: Terms, context: Context) -> Array:
    divergence = aggregate_mmd(terms, context, self.kernel, self.axis_name)
    return distortion(terms) + (1.0 - self.alpha) * rate(terms) + (self.alpha + self.weight - 1.0) * divergence
