"""A trained VAE whose latents are drawn from a fitted density, and the latents that it is fitted to."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from common import random
from common.ema import Ema
from common.errors import ConfigError
from common.state import NetState
from common.types import Array, Batch, Images, Latents, Mean, Metrics
from vae.samplers.fitted import Fitted, SamplerState
from vae.samplers.latents import is_of_codes, layer_sizes
from vae.samplers.two_stage import SecondStage
from vae.vae import VAE, VaeState


class SampledState(flax.struct.PyTreeNode):
  """The VAE's step and network, and the density."""

  step: Array
  net: NetState
  sampler: SamplerState

  @property
  def vae(self) -> VaeState:
    return VaeState(step=self.step, net=self.net)


@dataclasses.dataclass(frozen=True)
class SampledVAE:
  """p(x) = integral of p(x|z) p(z) dz with the VAE's p(x|z) and the density's p(z).

  Generative as the VAE is, and a LatentVariable where log p(z) is known. Both parts are fitted already.
  """

  vae: VAE
  sampler: Fitted | SecondStage

  batches_per_step = None
  conditional = False
  has_prior = True
  normal_latents = False
  alarms = ()

  @property
  def ema(self) -> Ema:
    return self.vae.ema

  def init(self, rng: Array, batch: Batch) -> SampledState:
    """Raises TypeError: the parts come from their own checkpoints."""
    raise TypeError("a VAE with a fitted sampler is put together from two runs, and starts nowhere")

  def train_step(self, state: SampledState, batch: Batch, rng: Array) -> tuple[SampledState, Metrics]:
    """Raises TypeError: the parts are trained one after the other."""
    raise TypeError("a VAE and its sampler are trained apart: experiments.train, then experiments.fit_sampler")

  def eval_step(self, state: SampledState, batch: Batch, rng: Array) -> Metrics:
    """Of held-out images under one draw of q(z|x).

    "distortion" -log p(x|z), "latent_nll" -log p(z) (of the two-stage VAE, a bound of it) and "latent_bits_per_dim",
    the latter in bits for each pixel and channel of the image; where q has a density or is of codes, "rate"
    log q(z|x) - log p(z) and "elbo".
    """
    x, index, mask = batch["image"], batch["index"], batch["mask"]
    rows, nothing = random.row_keys(random.stream(rng, "z"), index), jnp.zeros((len(x), 0))
    variables = state.net.variables(ema=True)
    z, log_q = self.vae.network.apply(variables, x, nothing, rows, method="infer")
    distortion = -self.vae.network.apply(variables, x, nothing, z, method="log_likelihood")
    log_p = self.sampler.log_density(state.sampler, self._numbers(state, z), random.row_stream(rows, "sampler"))
    found = {
      "distortion": distortion,
      "latent_nll": -log_p,
      "latent_bits_per_dim": -log_p / (math.log(2.0) * math.prod(x.shape[1:])),
    }
    if self.vae.network.has_rate:
      found |= {"rate": log_q - log_p, "elbo": log_p - log_q - distortion}
    return {name: Mean.of(value, mask) for name, value in found.items()}

  def summarize(self, means: Mapping[str, Any]) -> dict[str, float]:
    """Nothing more."""
    return {}

  def prior_sample(self, state: SampledState, rng: Array, index: Array) -> Latents:
    """z of the rows ``index`` [N] from the density; row i depends on (rng, i) only."""
    drawn = self.sampler.draw(state.sampler, random.row_keys(random.stream(rng, "z"), index))
    if is_of_codes(self.vae):
      variables = state.net.variables(ema=True)
      return (self.vae.network.apply(variables, drawn.astype(jnp.int32), method=_lookup),)
    return tuple(jnp.split(drawn, np.cumsum(layer_sizes(self.vae))[:-1], axis=-1))

  def decode(self, state: SampledState, z: Latents, labels: Array | None = None, *, ema: bool = True) -> Images:
    """E[x|z], as the VAE's."""
    return self.vae.decode(state.vae, z, labels, ema=ema)

  def visualize(self, state: SampledState, batch: Batch, rng: Array) -> dict[str, Images]:
    """As the VAE's."""
    return self.vae.visualize(state.vae, batch, rng)

  def posterior_sample(self, state: SampledState, batch: Batch, rng: Array, k: int) -> tuple[Latents, Array]:
    """As the VAE's."""
    return self.vae.posterior_sample(state.vae, batch, rng, k)

  def log_likelihood(self, state: SampledState, batch: Batch, z: Latents) -> Array:
    """As the VAE's."""
    return self.vae.log_likelihood(state.vae, batch, z)

  def log_prior(self, state: SampledState, z: Latents) -> Array:
    """log p(z) of the density in nats, [k, B] for a tuple of [k, B, Z].

    Raises:
      ConfigError: only a bound of it is known.
    """
    if not self.sampler.exact:
      raise ConfigError(
        "a two-stage sampler bounds log p(z) and does not know it, which likelihoods need; its bound of log p(x) is "
        'the "elbo" of --metrics=model'
      )

    def log_p(z: Latents) -> Array:
      no_rows = random.row_keys(jax.random.key(0), jnp.arange(len(z[0])))
      return self.sampler.log_density(state.sampler, self._numbers(state, z), no_rows)

    return jax.vmap(log_p)(z)

  def bound_terms(self, state: SampledState, batch: Batch, rng: Array, k: int) -> tuple[Array, dict[str, Array]]:
    """The distortion of k draws and the rate log q(z|x) - log p(z), [k, B] each in nats."""
    z, log_q = self.posterior_sample(state, batch, rng, k)
    return -self.log_likelihood(state, batch, z), {"z": log_q - self.log_prior(state, z)}

  def posterior_moments(self, state: SampledState, batch: Batch) -> tuple[Array, Array]:
    """As the VAE's."""
    return self.vae.posterior_moments(state.vae, batch)

  def _numbers(self, state: SampledState, z: Latents) -> Array:
    """What the density is of: the layers of z side by side, or the numbers of its codes; [B, ...]."""
    if not is_of_codes(self.vae):
      return jnp.concatenate(z, axis=-1)
    return self.vae.network.apply(state.net.variables(ema=True), z[0], method=_codes_of).astype(jnp.float32)


def _lookup(model: Any, codes: Array) -> Array:
  return model.posterior.lookup(codes)


def _codes_of(model: Any, z: Array) -> Array:
  return model.posterior.codes_of(z)
