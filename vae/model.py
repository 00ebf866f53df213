"""The parts of a VAE that have parameters, and the terms of its bound (Kingma & Welling 2013, Eq. 3).

Latents are a tuple of layers, top first, each [B, Z]. A plain model has one, "z". With two, "z2" is the top, and
p(x, z1, z2) = p(x|z1, z2) p(z1|z2) p(z2), q(z1, z2|x) = q(z1|x, z2) q(z2|x). The encoder, the decoder and the prior
``conditional_normal`` see what ``conditioning`` makes of the rows that the model is given (`vae.conditioning.Values`).
"""

from collections.abc import Iterator
from typing import NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from common import random
from common.types import Array, Given, Images, Latents
from vae.conditioning import Values
from vae.gaussian import Normal, gaussian_kl
from vae.likelihoods import log_prob_of
from vae.posteriors.gaussian import Draw
from vae.priors import ConditionalNormal, Distribution


class Terms(flax.struct.PyTreeNode):
  """The parts of the bound in nats, elbo = -(distortion + sum of rates); [B] each or, for k draws, [k, B].

  Attributes:
    distortion: -log p(x|z).
    rates: {layer: KL(q || p)}, in closed form if there is one, else log q - log p of the draw; empty if q is a point.
    log_ratio: log q(z|x) - log p(z) of the draw, summed over the layers; 0 if q is a point.
    penalties: {name: value} that the posterior adds to any loss.
    figures: {name: value} that the posterior reports.
    z: the layers.
    moments: {layer: (mean, log_var)} of Gaussian posteriors.
    params: what the decoder gives the likelihood, [B, H, W, ...].
  """

  distortion: Array
  rates: dict[str, Array]
  log_ratio: Array
  penalties: dict[str, Array]
  figures: dict[str, Array]
  z: tuple[Array, ...]
  moments: dict[str, tuple[Array, Array]]
  params: Array

  @property
  def rate(self) -> Array:
    return sum(self.rates.values(), start=jnp.zeros(()))

  @property
  def log_weight(self) -> Array:
    """log p(x, z) / q(z|x) of the draw."""
    return -(self.distortion + self.log_ratio)


class Layer(NamedTuple):
  """One layer of the latents: its draw, the statistics that it was drawn from, and the layers above."""

  name: str
  draw: Draw
  stats: Array
  above: tuple[Array, ...]


@jax.custom_vjp
def scale_gradient(z: Array, weight: Array) -> Array:
  """Returns z [B, Z] unchanged; its gradient is multiplied by ``weight`` [B]."""
  return z


scale_gradient.defvjp(
  lambda z, weight: (z, weight), lambda weight, grad: (weight[:, None] * grad, jnp.zeros_like(weight))
)


class LatentVariableModel(nn.Module):
  """q(z|x) by the encoder and the posterior, p(z) by the prior, p(x|z) by the decoder and the likelihood.

  All but most priors are given what ``conditioning`` makes of the rows ``given``.
  """

  encoder: nn.Module
  decoder: nn.Module
  posterior: nn.Module
  prior: nn.Module
  likelihood: nn.Module
  conditioning: nn.Module
  layers: tuple[str, ...] = ("z",)

  def __call__(
    self,
    x: Images,
    given: Given,
    keys: Array,
    *,
    train: bool,
    corrupted: Images | None = None,
    z_weight: Array | None = None,
  ) -> Terms:
    """Computes the terms for one draw of z.

    Args:
      x: the images whose likelihood is bounded.
      given: the rows that the model is given.
      keys: one key for each image.
      train: whether BatchNorm and codebooks are in training.
      corrupted: what the encoder is given instead of x.
      z_weight: weights [B] of z's gradient; log q(z|x) then lacks the gradient of q's parameters at a fixed z, whose
        expectation is 0 (Roeder et al. 2017). None leaves the gradient as it is.
    """
    values = self.conditioning(given, keys if train else None)
    layers = list(self._infer(x if corrupted is None else corrupted, values.encoder, keys, train=train))
    z, log_q = tuple(layer.draw.z for layer in layers), [layer.draw.log_q for layer in layers]
    if z_weight is not None:
      z = tuple(scale_gradient(part, z_weight) for part in z)
      fixed = (jax.lax.stop_gradient(layer.stats) for layer in layers)
      log_q = [self.posterior.log_prob(part, stats) for part, stats in zip(z, fixed, strict=True)]
    rates, log_ratio = self._rates(layers, z, log_q, values.prior) if self.has_rate else ({}, jnp.zeros(()))
    penalties = {name: value for layer in layers for name, value in layer.draw.penalties.items()}
    if isinstance(self.prior, ConditionalNormal) and self.prior.sigma_sigma:
      prior = self._prior((), values.prior)
      assert isinstance(prior, Normal)
      penalties["prior_penalty"] = self.prior.penalty(prior)
    params = self.decoder(z, values.decoder, train=train)
    return Terms(
      distortion=-self._log_prob(x, params, values),
      rates=rates,
      log_ratio=log_ratio,
      penalties=penalties,
      figures={name: value for layer in layers for name, value in layer.draw.figures.items()},
      z=z,
      moments={layer.name: self.posterior.split(layer.stats) for layer in layers if self.gaussian},
      params=params,
    )

  @property
  def rows(self) -> tuple[str, ...]:
    """The rows of a batch that the model is given."""
    return self.conditioning.rows

  @property
  def gaussian(self) -> bool:
    return "gaussian" in self.posterior.gives

  @property
  def has_rate(self) -> bool:
    return "density" in self.posterior.gives

  @property
  def has_codes(self) -> bool:
    return "codes" in self.posterior.gives

  def _infer(self, x: Images, values: Array | None, keys: Array, *, train: bool) -> Iterator[Layer]:
    """Yields the layers from the top, each given those above."""
    above: tuple[Array, ...] = ()
    for name in self.layers:
      stats = self.encoder.below(x, values, above, train=train) if above else self.encoder(x, values, train=train)
      draw = self.posterior(stats, random.row_stream(keys, name) if above else keys, train=train)
      yield Layer(name, draw, stats, above)
      above = (*above, draw.z)

  def _rates(
    self, layers: list[Layer], z: Latents, log_q: list[Array], values: Array | None
  ) -> tuple[dict[str, Array], Array]:
    """Returns the rate of each layer, and log q - log p of the draw, summed over the layers."""
    rates, log_ratio = {}, jnp.zeros(())
    for layer, part, log_q_part in zip(layers, z, log_q, strict=True):
      prior = self._prior(layer.above, values)
      rates[layer.name] = of_draw = log_q_part - prior.log_prob(part)
      log_ratio += of_draw
      if self.gaussian and isinstance(prior, Normal):
        mean, log_var = self.posterior.split(layer.stats)
        rates[layer.name] = gaussian_kl(mean, log_var, prior)
    return rates, log_ratio

  def _prior(self, above: tuple[Array, ...], values: Array | None) -> Distribution:
    """Returns p of the next layer given those above."""
    if above:
      stats = self.decoder.prior_below(above)
      return Normal(*(self.posterior.split(stats) if self.gaussian else jnp.split(stats, 2, axis=-1)))
    # Pseudo-inputs are not data: BatchNorm normalizes them as in evaluation, by the statistics of data.
    return self.prior(lambda images: self.moments(images, None), values)

  def _prior_values(self, given: Given) -> Array | None:
    return self.conditioning(given).prior if isinstance(self.prior, ConditionalNormal) else None

  def _log_prob(self, x: Images, params: Array, values: Values) -> Array:
    """Returns log p(x|z), [B], by what the decoder gives the likelihood; if there is a hole, that of its pixels."""
    if values.hole is None:
      return self.likelihood.log_prob(params, x)
    return log_prob_of(values.hole, self.likelihood, params, x)

  def infer(self, x: Images, given: Given, keys: Array) -> tuple[Latents, Array]:
    """Draws z from the posterior; returns it and log q(z|x) [B]."""
    draws = [layer.draw for layer in self._infer(x, self.conditioning(given).encoder, keys, train=False)]
    return tuple(draw.z for draw in draws), sum((draw.log_q for draw in draws), start=jnp.zeros(()))

  def encode(self, x: Images, given: Given, keys: Array) -> Latents:
    """Draws z from the posterior."""
    return self.infer(x, given, keys)[0]

  def moments(self, x: Images, given: Given) -> tuple[Array, Array]:
    """Returns mean and log-variance of the top layer's Gaussian posterior, [B, Z]."""
    return self.posterior.split(self.encoder(x, self.conditioning(given).encoder, train=False))

  def log_likelihood(self, x: Images, given: Given, z: Latents) -> Array:
    """Returns log p(x|z), [B]."""
    values = self.conditioning(given)
    return self._log_prob(x, self.decoder(z, values.decoder, train=False), values)

  def log_prior(self, z: Latents, given: Given) -> Array:
    """Returns log p(z), [B]."""
    values = self._prior_values(given)
    parts = [self._prior(z[:depth], values).log_prob(part) for depth, part in enumerate(z)]
    return sum(parts, start=jnp.zeros(()))

  def prior_sample(self, keys: Array, given: Given) -> Latents:
    """Draws from p(z) for each key."""
    if self.has_codes:
      return (self.posterior.lookup(self.prior.sample_codes(keys)),)
    z: tuple[Array, ...] = ()
    values = self._prior_values(given)
    for name in self.layers:
      z = (*z, self._prior(z, values).sample(random.row_stream(keys, name) if z else keys))
    return z

  def mean_image(self, z: Latents, given: Given) -> Images:
    """Returns E[x|z], [B, H, W, C]; outside of a hole, the known pixels."""
    values = self.conditioning(given)
    mean = self.likelihood.mean(self.decoder(z, values.decoder, train=False))
    return mean if values.hole is None else jnp.where(values.hole, mean, values.known)

  def reconstruct(self, x: Images, given: Given, keys: Array) -> Images:
    """Returns E[x|z] for one draw from the posterior."""
    return self.mean_image(self.encode(x, given, keys), given)
