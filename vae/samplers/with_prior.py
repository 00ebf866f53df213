"""A trained VAE with a fitted density in the place of its prior; it stays a `VAE` in all that is asked of one."""

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from common import random
from common.errors import ConfigError
from common.types import Array, Images, Latents
from vae.model import LatentVariableModel, Terms
from vae.samplers.fitted import Fitted
from vae.samplers.latents import is_of_codes, layer_sizes, size
from vae.samplers.two_stage import SecondStage
from vae.vae import VAE, VaeState


class FittedPrior(nn.Module):
  """p(z) of all layers of z side by side, or of the numbers of z's codes.

  Attributes:
    density: the density of y = (z - shift) / scale, the units of `common.data.latents`.
    sizes: how many numbers each layer of z has.
  """

  density: nn.Module
  sizes: tuple[int, ...]

  def setup(self) -> None:
    self.shift = self.param("shift", nn.initializers.zeros_init(), (sum(self.sizes),))
    self.scale = self.param("scale", nn.initializers.ones_init(), (sum(self.sizes),))

  @property
  def exact(self) -> bool:
    """Whether log p(z) has a closed form; else it is bounded."""
    return not isinstance(self.density, SecondStage)

  def log_prob(self, z: Array, rows: Array) -> Array:
    """log p(z) in nats, or a lower bound of it with one draw for each key, [B, Z], keys [B] -> [B]."""
    y = (z - self.shift) / self.scale
    log_p = self.density.log_prob(y) if self.exact else self.density.bound(y, rows)
    return log_p - jnp.sum(jnp.log(self.scale))

  def sample(self, rows: Array) -> Array:
    """Keys [B] -> z [B, Z]; row i depends on key i only."""
    return self.shift + self.scale * self.density.sample(rows)


class ModelUnderDensity(LatentVariableModel):
  """A model whose ``prior`` is a `FittedPrior`."""

  def __call__(self, x: Images, y: Array | None, keys: Array, *, train: bool, **ways: Any) -> Terms:
    """The terms for one draw of z; the only rate is log q(z|x) - log p(z) of all layers.

    The figures have also "latent_nll", -log p(z) in nats (or its bound), and "latent_bits_per_dim", the same in bits
    for each pixel and channel of the image.
    """
    terms = super().__call__(x, y, keys, train=train, **ways)
    log_q = self.infer(x, y, keys)[1]  # the same draw, which the compiler computes once
    log_p = self.prior.log_prob(self._numbers(terms.z), random.row_stream(keys, "sampler"))
    bits = -log_p / (math.log(2.0) * math.prod(x.shape[1:]))
    return terms.replace(
      rates={"z": log_q - log_p} if self.has_rate else {},
      log_ratio=log_q - log_p if self.has_rate else terms.log_ratio,
      figures={**terms.figures, "latent_nll": -log_p, "latent_bits_per_dim": bits},
    )

  def _rates(self, *_: Any) -> tuple[dict[str, Array], Array]:
    return {}, jnp.zeros(())  # layers have no rates of their own

  def log_prior(self, z: Latents) -> Array:
    """log p(z), [B].

    Raises:
      ConfigError: the density only bounds it.
    """
    if not self.prior.exact:
      raise ConfigError(
        "a two-stage sampler bounds log p(z) and does not know it, which likelihoods need; its bound of log p(x) is "
        'the "elbo" of --metrics=model'
      )
    return self.prior.log_prob(self._numbers(z), jnp.zeros((0,)))

  def prior_sample(self, rows: Array) -> Latents:
    """A draw of p(z) for each key."""
    drawn = self.prior.sample(rows)
    if self.has_codes:
      return (self.posterior.lookup(drawn.astype(jnp.int32)),)
    return tuple(jnp.split(drawn, np.cumsum(self.prior.sizes)[:-1], axis=-1))

  def _numbers(self, z: Latents) -> Array:
    if self.has_codes:
      return self.posterior.codes_of(z[0]).astype(jnp.float32)
    return jnp.concatenate(z, axis=-1)


def with_prior(
  vae: VAE, state: VaeState, density: Fitted | VAE, fitted: VaeState, units: tuple[Array, Array]
) -> tuple[VAE, VaeState]:
  """The VAE whose p(z) is a fitted density, and its state; both parts have their averaged weights where they are kept.

  Args:
    vae: the model, without labels.
    state: its state.
    density: what was fitted to the latents of ``vae``; a VAE is a second stage.
    fitted: its state.
    units: shift and scale of the latents, [Z] each (`common.data.latents.units`).
  """
  weights = fitted.net.variables(ema=True)["params"]
  second = isinstance(density, VAE)
  sizes = (size(vae),) if is_of_codes(vae) else tuple(layer_sizes(vae))
  parts = {name: getattr(vae.network, name) for name in ("encoder", "decoder", "posterior", "likelihood", "layers")}
  prior = FittedPrior(SecondStage(density.network) if isinstance(density, VAE) else density.module, sizes)
  of_prior = {"density": {"model": weights} if second else weights, "shift": units[0], "scale": units[1]}
  params, average = ({**tree, "prior": of_prior} if tree else None for tree in (state.net.params, state.net.ema_params))
  network = ModelUnderDensity(prior=prior, **parts)
  return dataclasses.replace(vae, network=network), state.replace(
    net=state.net.replace(params=params, ema_params=average)
  )
