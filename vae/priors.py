"""p(z) by name: densities of latents in nats, and draws.

A prior is a module that is called with a function that maps images to the moments of q(z|x), from which the VampPrior
takes its components, and with values [B, K] of what the model is given, or None. It returns a `Distribution`. Its
``needs`` are words of what a posterior ``gives`` (vae/posteriors/__init__.py).
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax import lax

from common import random
from common.errors import ConfigError
from common.types import Array, Images
from vae.codes import positions
from vae.gaussian import LOG_2PI, Normal

Encode = Callable[[Images], tuple[Array, Array]]  # [K, H, W, C] -> mean, log_var [K, Z] of q(z|x)


class Distribution(Protocol):
  """p(z), or p(z|the layers above)."""

  def log_prob(self, z: Array) -> Array:
    """[..., Z] -> [...]."""
    ...

  def sample(self, keys: Array) -> Array:
    """keys [B] -> z [B, Z]; row i depends on key i only."""
    ...


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

  def sample(self, keys: Array) -> Array:
    k = random.categorical(random.row_stream(keys, "component"), self.log_weight)
    return Normal(self.mean[k], self.log_var[k]).sample(keys)


class StandardNormal(nn.Module):
  """N(0, I)."""

  z_dim: int
  needs = frozenset({"real"})

  def __call__(self, encode: Encode, values: Array | None) -> Normal:
    return Normal(jnp.zeros(self.z_dim), jnp.zeros(self.z_dim))


class ConditionalNormal(nn.Module):
  """p(z|given), independent normals from a hidden layer of what is given (Sohn et al. 2015, Section 4.1).

  It starts as N(0, I). Draws of z fit what is given, as q(z|x) does where the picture shows it.

  Attributes:
    z_dim: size of z.
    hidden: size of the hidden layer.
    sigma_mu: deviation of the mean in `penalty`.
    sigma_sigma: weight of the deviation in `penalty`; 0: there is none.
  """

  z_dim: int
  hidden: int = 256
  sigma_mu: float = 1e4
  sigma_sigma: float = 0.0
  needs = frozenset({"real", "density"})

  @nn.compact
  def __call__(self, encode: Encode, values: Array | None) -> Normal:
    hidden = nn.relu(nn.Dense(self.hidden, name="hidden")(values))
    stats = nn.Dense(2 * self.z_dim, kernel_init=nn.initializers.zeros_init(), name="stats")(hidden)
    return Normal(*jnp.split(stats, 2, axis=-1))

  def penalty(self, p: Normal) -> Array:
    """sum_i mean_i^2 / (2 sigma_mu^2) + sigma_sigma (s_i - log s_i) of the deviations s, [B] (Ivanov et al. 2019)."""
    deviation = jnp.exp(0.5 * p.log_var)
    of_units = p.mean**2 / (2.0 * self.sigma_mu**2) + self.sigma_sigma * (deviation - 0.5 * p.log_var)
    return jnp.sum(of_units, axis=-1)


class VampPrior(nn.Module):
  """1/K sum_k q(z|u_k) of learned pseudo-inputs u (Tomczak & Welling 2018, arXiv:1705.07120, Eq. 9).

  Attributes:
    image_shape: (height, width, channels) of a pseudo-input.
    pixel_range: range to which pseudo-inputs are clipped, without a gradient beyond, as by the paper's hard tanh.
    components: K.
    mean: mean of the pseudo-inputs at the start, in units of the pixel range's floats.
    deviation: their standard deviation at the start.
  """

  image_shape: tuple[int, int, int]
  pixel_range: tuple[float, float]
  components: int = 500
  mean: float = 0.05
  deviation: float = 0.01
  needs = frozenset({"gaussian"})

  def __post_init__(self):
    if self.components < 1:
      raise ConfigError(f"components={self.components} must be 1 or more")
    super().__post_init__()

  @nn.compact
  def __call__(self, encode: Encode, values: Array | None) -> GaussianMixture:
    def start(key: Array, shape: tuple[int, ...]) -> Array:
      return self.mean + nn.initializers.normal(self.deviation)(key, shape)

    inputs = self.param("pseudo_inputs", start, (self.components, *self.image_shape))
    mean, log_var = encode(jnp.clip(inputs, *self.pixel_range))
    return GaussianMixture(jnp.full(self.components, -jnp.log(self.components)), mean, log_var)


class UniformCodes(nn.Module):
  """p(z) = 1 / K^P at each of the K^P quantized z (van den Oord et al. 2017, Section 3.1); its draws are codes.

  Attributes:
    z_dim: size of z.
    num_codes: K, the number of entries of the codebook.
    code_dim: size of an entry.
  """

  z_dim: int
  num_codes: int
  code_dim: int
  needs = frozenset({"codes"})

  def __call__(self, encode: Encode, values: Array | None) -> "UniformCodes":
    """Returns itself: it does not depend on the encoder."""
    return self

  def log_prob(self, z: Array) -> Array:
    """-P log K for any z, [..., Z] -> [...]."""
    return jnp.full(z.shape[:-1], -positions(self.z_dim, self.code_dim) * jnp.log(self.num_codes))

  def sample_codes(self, keys: Array) -> Array:
    """Keys [B] -> int32 [B, P], for `VectorQuantized.lookup`."""
    places = jnp.arange(positions(self.z_dim, self.code_dim))
    return jax.vmap(lambda key: random.integers(random.row_keys(key, places), 0, self.num_codes))(keys)


class NoPrior(nn.Module):
  """The model says nothing of how latents are distributed (autoencoders; Ghosh et al. 2020)."""

  needs: ClassVar[frozenset[str]] = frozenset()


PRIORS: dict[str, Any] = {
  "standard_normal": StandardNormal,
  "conditional_normal": ConditionalNormal,
  "vampprior": VampPrior,
  "uniform_codes": UniformCodes,
  "none": NoPrior,
}
