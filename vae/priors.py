"""p(z): densities of latents in nats, and draws."""

from collections.abc import Callable
from typing import Protocol

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax import lax

from common import random
from common.errors import ConfigError
from common.types import Array, Images
from vae.posteriors import LOG_2PI, gaussian_log_prob

Encode = Callable[[Images], tuple[Array, Array]]  # [K, H, W, C] -> mean, log_var [K, Z] of q(z|x)


class Distribution(Protocol):
  """p(z) with all that it depends on in place."""

  def log_prob(self, z: Array) -> Array:
    """[..., Z] -> [...]."""
    ...

  def sample(self, rows: Array) -> Array:
    """keys [B] -> z [B, Z]; row i depends on key i only."""
    ...


class Normal(flax.struct.PyTreeNode):
  """N(mean, diag e^log_var), [Z] or [B, Z] each."""

  mean: Array
  log_var: Array

  def log_prob(self, z: Array) -> Array:
    return gaussian_log_prob(z, self.mean, self.log_var)

  def sample(self, rows: Array) -> Array:
    return self.mean + jnp.exp(0.5 * self.log_var) * random.normal(rows, self.mean.shape[-1:])


class GaussianMixture(flax.struct.PyTreeNode):
  """sum_k w_k N(mean_k, diag e^log_var_k): log w [K], mean [K, Z], log_var [K, Z]."""

  log_weight: Array
  mean: Array
  log_var: Array

  def log_prob(self, z: Array) -> Array:
    # Squares of differences, not differences of products, which would lose the digits that narrow components need; by a
    # loop over the units, so that XLA:CPU has the components side by side, which the barrier keeps it from undoing.
    means, scales = lax.optimization_barrier((self.mean.T, jnp.exp(-0.5 * self.log_var).T))
    units = zip(jnp.moveaxis(z, -1, 0), means, scales, strict=True)
    squares = sum(((part[..., None] - mean) * scale) ** 2 for part, mean, scale in units)
    at_mean = self.log_weight - 0.5 * jnp.sum(LOG_2PI + self.log_var, axis=-1)
    return jax.nn.logsumexp(at_mean - 0.5 * squares, axis=-1)

  def sample(self, rows: Array) -> Array:
    # Gumbel's trick: the largest of log w + noise is component k with probability w_k.
    noise = random.uniform(random.row_stream(rows, "component"), self.log_weight.shape, low=1e-7)
    k = jnp.argmax(self.log_weight - jnp.log(-jnp.log(noise)), axis=-1)
    return Normal(self.mean[k], self.log_var[k]).sample(rows)


class StandardNormal(nn.Module):
  """N(0, I)."""

  z_dim: int

  def __call__(self, encode: Encode) -> Normal:
    return Normal(jnp.zeros(self.z_dim), jnp.zeros(self.z_dim))


class Mixture(nn.Module):
  """A mixture of Gaussians with learned weights, means and variances ("MoG" of Tomczak & Welling 2018, Section 2.2).

  Attributes:
    z_dim: size of z.
    components: how many.
    scale: standard deviation of the means at the start.
  """

  z_dim: int
  components: int = 10
  scale: float = 1.0

  def __post_init__(self):
    _check_components(self.components)
    super().__post_init__()

  @nn.compact
  def __call__(self, encode: Encode) -> GaussianMixture:
    shape = (self.components, self.z_dim)
    weight = self.param("logits", nn.initializers.zeros_init(), shape[:1])
    mean = self.param("mean", nn.initializers.normal(self.scale), shape)
    return GaussianMixture(jax.nn.log_softmax(weight), mean, self.param("log_var", nn.initializers.zeros_init(), shape))


class VampPrior(nn.Module):
  """1/K sum_k q(z|u_k) of learned pseudo-inputs u (Tomczak & Welling 2018, arXiv:1705.07120, Eq. 9).

  Attributes:
    z_dim: size of z.
    image_shape: (height, width, channels) of a pseudo-input.
    pixel_range: that they are clipped to, without a gradient beyond, as the paper's hard tanh does.
    components: how many.
    mean: of the pseudo-inputs at the start, in units of the pixel range's floats.
    deviation: their standard deviation at the start.
  """

  z_dim: int
  image_shape: tuple[int, int, int]
  pixel_range: tuple[float, float]
  components: int = 500
  mean: float = 0.05
  deviation: float = 0.01

  def __post_init__(self):
    _check_components(self.components)
    super().__post_init__()

  @nn.compact
  def __call__(self, encode: Encode) -> GaussianMixture:
    def start(key: Array, shape: tuple[int, ...]) -> Array:
      return self.mean + nn.initializers.normal(self.deviation)(key, shape)

    inputs = self.param("pseudo_inputs", start, (self.components, *self.image_shape))
    mean, log_var = encode(jnp.clip(inputs, *self.pixel_range))
    return GaussianMixture(jnp.full(self.components, -jnp.log(self.components)), mean, log_var)


class NoPrior(nn.Module):
  """Latents have a distribution, but the model does not say which (autoencoders; Ghosh et al. 2020)."""


def _check_components(components: int) -> None:
  if components < 1:
    raise ConfigError(f"components={components} must be 1 or more")


def gaussian_kl(mean: Array, log_var: Array, prior: Normal) -> Array:
  """KL(N(mean, e^log_var) || prior) in nats, [..., Z] -> [...] (at N(0, I): Kingma & Welling 2013, App. B)."""
  difference = jnp.exp(log_var) + (mean - prior.mean) ** 2
  return 0.5 * jnp.sum(prior.log_var - log_var + difference * jnp.exp(-prior.log_var) - 1.0, axis=-1)
