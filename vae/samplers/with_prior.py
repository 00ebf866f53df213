"""A trained VAE with a fitted density in the place of its prior; it remains a `VAE` to everything that uses it."""

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from common import random
from common.errors import ConfigError
from common.types import Array, Given, Images, Latents
from vae.model import LatentVariableModel, Terms
from vae.samplers.density import Density
from vae.samplers.fitted import Fitted
from vae.samplers.latents import layer_sizes, shape_of
from vae.vae import VAE, VaeState


class SecondStage(Density):
  """A VAE of z as a density: p(z) = integral of N(z; mean(u), sigma^2 I) N(u; 0, I) du (Dai & Wipf 2019, Section 4).

  Attributes:
    model: the VAE of z; its likelihood is a `SharedGaussian`.
  """

  model: LatentVariableModel

  @property
  def exact(self) -> bool:
    return False

  def log_prob(self, z: Array, given: Given = None, keys: Array | None = None, *, train: bool = False) -> Array:
    """A lower bound of log p(z) in nats with one draw of u for each z [B, Z], keys [B] -> [B]."""
    assert keys is not None
    terms = self.model(z[:, None, None, :], None, keys, train=False)
    return -(terms.distortion + terms.rate)

  def sample(self, keys: Array, given: Given = None) -> Array:
    """Keys [B] -> z [B, Z] with the likelihood's noise; row i depends on key i only."""
    mean = self.model.mean_image(self.model.prior_sample(keys, None), None).reshape(len(keys), -1)
    noise = random.normal(random.row_stream(keys, "likelihood"), mean.shape[1:])
    return mean + jnp.exp(0.5 * self.model.likelihood.log_var()) * noise


class FittedPrior(nn.Module):
  """p(z) of all layers of z side by side, or of the numbers of z's codes.

  Attributes:
    density: the density of y = (z - shift) / scale, the units of `common.data.latents`.
    sizes: the size of each layer of z.
  """

  density: Density
  sizes: tuple[int, ...]

  @property
  def rows(self) -> tuple[str, ...]:
    """The rows of a batch that the density is given."""
    return self.density.rows

  def setup(self) -> None:
    self.shift = self.param("shift", nn.initializers.zeros_init(), (sum(self.sizes),))
    self.scale = self.param("scale", nn.initializers.ones_init(), (sum(self.sizes),))

  @property
  def exact(self) -> bool:
    """Whether log p(z) has a closed form; else it is bounded."""
    return self.density.exact

  def log_prob(self, z: Array, keys: Array, given: Given = None) -> Array:
    """log p(z | given) in nats, or a lower bound of it with one draw for each key, [B, Z], keys [B] -> [B]."""
    log_p = self.density.log_prob((z - self.shift) / self.scale, given, keys)
    return log_p - jnp.sum(jnp.log(self.scale))

  def sample(self, keys: Array, given: Given = None) -> Array:
    """Keys [B] -> z [B, Z]; row i depends on key i, and on what it is given if the density is, only."""
    return self.shift + self.scale * self.density.sample(keys, given)


class ModelUnderDensity(LatentVariableModel):
  """A model whose ``prior`` is a `FittedPrior`, and which is given what that is."""

  @property
  def rows(self) -> tuple[str, ...]:
    return (*self.conditioning.rows, *self.prior.rows)

  def __call__(self, x: Images, given: Given, keys: Array, *, train: bool, **ways: Any) -> Terms:
    """The terms for one draw of z; the only rate is log q(z|x) - log p(z) of all layers.

    Two more figures are "latent_nll", -log p(z) in nats (or its bound), and "latent_bits_per_dim", the same in bits for
    each pixel and channel of the image.
    """
    terms = super().__call__(x, given, keys, train=train, **ways)
    log_q = self.infer(x, given, keys)[1]  # the same draw, which the compiler computes once
    log_p = self.prior.log_prob(self._numbers(terms.z), random.row_stream(keys, "sampler"), given)
    bits = -log_p / (math.log(2.0) * math.prod(x.shape[1:]))
    return terms.replace(
      rates={"z": log_q - log_p} if self.has_rate else {},
      log_ratio=log_q - log_p if self.has_rate else terms.log_ratio,
      figures={**terms.figures, "latent_nll": -log_p, "latent_bits_per_dim": bits},
    )

  def _rates(self, *_: Any) -> tuple[dict[str, Array], Array]:
    return {}, jnp.zeros(())  # the density is one of all layers

  def log_prior(self, z: Latents, given: Given) -> Array:
    """log p(z | given), [B].

    Raises:
      ConfigError: the density only bounds it.
    """
    if not self.prior.exact:
      raise ConfigError(
        "this prior only bounds log p(z), and likelihoods need its value; the bound of log p(x) is the "
        '"elbo" of --metrics=model'
      )
    return self.prior.log_prob(self._numbers(z), jnp.zeros((0,)), given)

  def prior_sample(self, keys: Array, given: Given) -> Latents:
    """A draw of p(z | given) for each key."""
    drawn = self.prior.sample(keys, given)
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
  """The VAE whose p(z) is a fitted density, and its state; both use their averaged weights if they keep them.

  Args:
    vae: the model, which is given nothing.
    state: its state.
    density: the density that was fitted to the latents of ``vae``; a VAE is a second stage.
    fitted: its state.
    units: shift and scale of the latents, [Z] each (`common.data.latents.units`).
  """
  weights = fitted.net.variables(ema=True)["params"]
  module: Density
  if isinstance(density, VAE):
    module, weights = SecondStage(density.network), {"model": weights}
  else:
    module = density.module
  sizes = (math.prod(shape_of(vae)),) if vae.network.has_codes else tuple(layer_sizes(vae))
  parts = {
    name: getattr(vae.network, name)
    for name in ("encoder", "decoder", "posterior", "likelihood", "conditioning", "layers")
  }
  network = ModelUnderDensity(prior=FittedPrior(module, sizes), **parts)
  prior = {"density": weights, "shift": units[0], "scale": units[1]}
  params, average = ({**tree, "prior": prior} if tree else None for tree in (state.net.params, state.net.ema_params))
  net = state.net.replace(params=params, ema_params=average)
  return dataclasses.replace(vae, network=network), state.replace(net=net)
