"""Everything of a VAE that has parameters, and the terms of its bound (Kingma & Welling 2013, Eq. 3).

Latents are a tuple of layers, top first, each [B, Z]. A plain model has one, "z"; of two, "z2" is the top and p(x, z1,
z2) = p(x|z1, z2) p(z1|z2) p(z2), q(z1, z2|x) = q(z1|x, z2) q(z2|x).
"""

from collections.abc import Iterator
from typing import NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from common import random
from common.types import Array, Images, Latents
from vae.posteriors import Deterministic, DiagonalGaussian, Draw
from vae.priors import Distribution, Normal, gaussian_kl
from vae.vector_quantizer import VectorQuantized


class Terms(flax.struct.PyTreeNode):
  """The parts of the bound, in nats: elbo = -(distortion + sum of rates).

  Attributes:
    distortion: -log p(x|z), [B] or, of k draws, [k, B], as all that follow.
    rates: {layer: KL(q || p)}; empty where q is a point.
    penalties: what the posterior asks to be added to any loss.
    figures: what the posterior says of itself.
    z: the layers.
    moments: {layer: (mean, log_var)} of Gaussian posteriors.
  """

  distortion: Array
  rates: dict[str, Array]
  penalties: dict[str, Array]
  figures: dict[str, Array]
  z: tuple[Array, ...]
  moments: dict[str, tuple[Array, Array]]

  @property
  def rate(self) -> Array:
    return sum(self.rates.values(), start=jnp.zeros(()))


class Layer(NamedTuple):
  """One layer of the latents: a draw, the statistics it is of, and the layers above."""

  name: str
  draw: Draw
  stats: Array
  above: tuple[Array, ...]


@jax.custom_vjp
def scale_gradient(z: Array, weight: Array) -> Array:
  """z as it is, [B, Z]; its gradient times ``weight`` [B]."""
  return z


scale_gradient.defvjp(
  lambda z, weight: (z, weight), lambda weight, grad: (weight[:, None] * grad, jnp.zeros_like(weight))
)


class LatentVariableModel(nn.Module):
  """Encoder, posterior, prior, decoder and likelihood; ``y`` is the label as one-hot values [B, K], K = 0 for none."""

  model: nn.Module
  posterior: nn.Module
  prior: nn.Module
  likelihood: nn.Module
  layers: tuple[str, ...] = ("z",)

  def __call__(
    self,
    x: Images,
    y: Array,
    rows: Array,
    *,
    train: bool,
    rate: str = "closed",
    seen: Images | None = None,
    weight: Array | None = None,
  ) -> Terms:
    """The terms for one draw of z.

    Args:
      x: what is to be explained.
      y: its labels.
      rows: keys [B].
      train: for BatchNorm and codebooks.
      rate: "closed": the closed form where the pair of q and p has one, else log q - log p of the draw; "sampled":
        always the latter; "path": the same without the gradient of q's parameters in log q, whose expectation is 0
        (Roeder et al. 2017, "sticking the landing").
      seen: what the encoder is given in the place of x.
      weight: [B], of z's gradient (Tucker et al. 2019, "doubly reparameterized"); None for 1.
    """
    layers = list(self._infer(x if seen is None else seen, y, rows, train=train))
    z = tuple(layer.draw.z for layer in layers)
    if weight is not None:
      z = tuple(scale_gradient(part, weight) for part in z)
    rates = {
      layer.name: self._rate(layer, part, self._prior(layer.above, y, train=train), rate)
      for layer, part in zip(layers, z, strict=True)
      if self.has_rate
    }
    return Terms(
      distortion=-self.likelihood.log_prob(self.model.decode(z, y, train=train), x),
      rates=rates,
      penalties={name: value for layer in layers for name, value in layer.draw.penalties.items()},
      figures={name: value for layer in layers for name, value in layer.draw.figures.items()},
      z=z,
      moments={layer.name: self.posterior.split(layer.stats) for layer in layers if self.gaussian},
    )

  @property
  def gaussian(self) -> bool:
    return isinstance(self.posterior, DiagonalGaussian)

  @property
  def has_rate(self) -> bool:
    return not isinstance(self.posterior, Deterministic)

  def _infer(self, x: Images, y: Array, rows: Array, *, train: bool) -> Iterator[Layer]:
    """The layers from the top, each given those above."""
    above: tuple[Array, ...] = ()
    for name in self.layers:
      keys = random.row_stream(rows, name) if above else rows
      stats = self.model.encode_below(x, y, above, train=train) if above else self.model.encode(x, y, train=train)
      draw = self.posterior(stats, keys, train=train)
      yield Layer(name, draw, stats, above)
      above = (*above, draw.z)

  def _prior(self, above: tuple[Array, ...], y: Array, *, train: bool) -> Distribution:
    """p of the next layer given those above."""
    if not above:
      return self.prior(self._pseudo_posterior)
    stats = self.model.prior_below(above, y, train=train)
    return Normal(*(self.posterior.split(stats) if self.gaussian else jnp.split(stats, 2, axis=-1)))

  def _pseudo_posterior(self, images: Images) -> tuple[Array, Array]:
    # As in evaluation: they are no data, and BatchNorm's statistics are those of data.
    return self.posterior.split(self.model.encode(images, jnp.zeros((len(images), 0)), train=False))

  def _rate(self, layer: Layer, z: Array, prior: Distribution, kind: str) -> Array:
    if kind == "closed" and self.gaussian and isinstance(prior, Normal):
      mean, log_var = self.posterior.split(layer.stats)
      return gaussian_kl(mean, log_var, prior)
    fixed = kind == "path"
    log_q = self.posterior.log_prob(z, jax.lax.stop_gradient(layer.stats)) if fixed else layer.draw.log_q
    return log_q - prior.log_prob(z)

  def encode(self, x: Images, y: Array, rows: Array) -> Latents:
    """A draw of the posterior."""
    return tuple(layer.draw.z for layer in self._infer(x, y, rows, train=False))

  def infer(self, x: Images, y: Array, rows: Array) -> tuple[Latents, Array]:
    """A draw of the posterior, and log q(z|x) [B]."""
    draws = [layer.draw for layer in self._infer(x, y, rows, train=False)]
    return tuple(draw.z for draw in draws), sum((draw.log_q for draw in draws), start=jnp.zeros(()))

  def moments(self, x: Images, y: Array) -> tuple[Array, Array]:
    """Mean and log-variance of a Gaussian posterior of one layer, [B, Z]."""
    return self.posterior.split(self.model.encode(x, y, train=False))

  def log_likelihood(self, x: Images, y: Array, z: Latents) -> Array:
    """log p(x|z), [B]."""
    return self.likelihood.log_prob(self.model.decode(z, y, train=False), x)

  def log_prior(self, y: Array, z: Latents) -> Array:
    """log p(z), [B]."""
    parts = [self._prior(z[:depth], y, train=False).log_prob(part) for depth, part in enumerate(z)]
    return sum(parts, start=jnp.zeros(()))

  def prior_sample(self, y: Array, rows: Array) -> Latents:
    """A draw of p(z) for each key."""
    if isinstance(self.posterior, VectorQuantized):
      return (self.posterior.lookup(self.prior.sample_codes(rows)),)
    z: tuple[Array, ...] = ()
    for name in self.layers:
      z = (*z, self._prior(z, y, train=False).sample(random.row_stream(rows, name) if z else rows))
    return z

  def mean_image(self, z: Latents, y: Array, *, train: bool = False) -> Images:
    """E[x|z], [B, H, W, C]."""
    return self.likelihood.mean(self.model.decode(z, y, train=train))

  def reconstruct(self, x: Images, y: Array, rows: Array) -> Images:
    """E[x|z] of one draw of the posterior."""
    return self.mean_image(self.encode(x, y, rows), y)
