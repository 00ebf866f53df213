"""Variational autoencoders: the state, and one training step (Kingma & Welling 2013, arXiv:1312.6114, Algorithm 1)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from common import random
from common.alarms import Alarm
from common.algorithm import Array, Batch, Images, Latents, Mean, Metrics, Spec
from common.build import ConfigError, build
from common.ema import Ema, build_ema
from common.optim import build_optimizer
from common.state import NetState, apply_gradients, init_network
from vae import health
from vae.likelihoods import LIKELIHOODS
from vae.networks import NETWORKS
from vae.objectives import OBJECTIVES, Elbo
from vae.posteriors import POSTERIORS, DiagonalGaussian
from vae.priors import PRIORS, StandardNormal, rate


class VaeState(flax.struct.PyTreeNode):
  """The one network, and the number of steps taken."""

  step: Array
  net: NetState


class Terms(flax.struct.PyTreeNode):
  """The two parts of the bound for each image, in nats [B]: elbo = -(distortion + sum of rates)."""

  distortion: Array
  rates: dict[str, Array]

  @property
  def rate(self) -> Array:
    return sum(self.rates.values(), start=jnp.zeros(()))


class LatentVariableModel(nn.Module):
  """Everything that has parameters: encoder, posterior, prior, decoder and likelihood."""

  model: nn.Module
  posterior: nn.Module
  prior: nn.Module
  likelihood: nn.Module

  def __call__(self, x: Images, rows: Array, *, train: bool) -> Terms:
    """-log p(x|z) for one draw of z, and KL(q(z|x) || p(z))."""
    stats = self.model.encode(x, train=train)
    z, log_q = self.posterior(stats, rows)
    return Terms(
      distortion=-self.likelihood.log_prob(self.model.decode(z, train=train), x),
      rates={"z": rate(self.posterior, self.prior, stats, z, log_q)},
    )

  def infer(self, x: Images, rows: Array) -> tuple[Latents, Array]:
    """A draw (z,) of the posterior, and log q(z|x) [B]."""
    z, log_q = self.posterior(self.model.encode(x, train=False), rows)
    return (z,), log_q

  def moments(self, x: Images) -> tuple[Array, Array]:
    """Mean and log-variance of a Gaussian posterior, [B, Z]."""
    return self.posterior.split(self.model.encode(x, train=False))

  def log_likelihood(self, x: Images, z: Latents) -> Array:
    """log p(x|z), [B]."""
    return self.likelihood.log_prob(self.model.decode(z[0], train=False), x)

  def log_prior(self, z: Latents) -> Array:
    """log p(z), [B]."""
    return self.prior.log_prob(z[0])

  def prior_sample(self, rows: Array) -> Latents:
    return (self.prior.sample(rows),)

  def mean_image(self, z: Latents) -> Images:
    """E[x|z], [B, H, W, C]."""
    return self.likelihood.mean(self.model.decode(z[0], train=False))

  def reconstruct(self, x: Images, rows: Array) -> Images:
    return self.mean_image(self.infer(x, rows)[0])


@dataclasses.dataclass(frozen=True)
class VAE:
  """A latent-variable model trained on a bound of its likelihood; fields as the config's keys of the same names."""

  spec: Spec
  network: LatentVariableModel
  objective: Elbo
  tx: optax.GradientTransformation
  ema: Ema
  axis_name: str | None

  batches_per_step = None
  conditional = False

  @property
  def normal_latents(self) -> bool:
    return isinstance(self.network.prior, StandardNormal)

  @property
  def alarms(self) -> tuple[Alarm, ...]:
    posterior = self.network.posterior
    gaussian = isinstance(posterior, DiagonalGaussian)
    return health.alarms(gaussian=gaussian, clips=gaussian and bool(posterior.log_var_range))

  def init(self, rng: Array, batch: Batch) -> VaeState:
    """A fresh network; of ``batch`` (leaves [B, ...]) only the shapes matter."""
    rows = random.row_keys(rng, batch["index"])
    net = init_network(self.network, self.tx, self.ema, rng, batch["image"], rows, train=True)
    return VaeState(step=jnp.zeros((), jnp.int32), net=net)

  def train_step(self, state: VaeState, batch: Batch, rng: Array) -> tuple[VaeState, Metrics]:
    """One step on the objective's mean over the batch, one draw of z an image."""
    net, rows = state.net, random.row_keys(random.stream(rng, "z"), batch["index"])

    def loss_fn(params: Any) -> tuple[Array, Any]:
      variables = {"params": params, **net.mutable}
      terms, mutable = self.network.apply(variables, batch["image"], rows, train=True, mutable=["batch_stats"])
      losses = self.objective(terms.distortion, terms.rates, net.updates)
      return jnp.mean(losses), (losses, terms, mutable)

    grads, (losses, terms, mutable) = jax.grad(loss_fn, has_aux=True)(net.params)
    net, norms = apply_gradients(net, grads, self.tx, self.ema, mutable=mutable, axis_name=self.axis_name)
    return VaeState(step=state.step + 1, net=net), {
      "loss": Mean.of(losses),
      **_bound(terms),
      **norms,
    }

  def eval_step(self, state: VaeState, batch: Batch, rng: Array) -> Metrics:
    """The bound of held-out images, with one draw of z each, and what is known of each unit of z."""
    rows = random.row_keys(random.stream(rng, "z"), batch["index"])
    terms = self.network.apply(state.net.variables(ema=True), batch["image"], rows, train=False)
    found, posterior = _bound(terms, batch["mask"]), self.network.posterior
    if isinstance(posterior, DiagonalGaussian):
      found |= health.units(*self.posterior_moments(state, batch["image"]), posterior.log_var_range, batch["mask"])
    return found

  def summarize(self, means: Mapping[str, Any]) -> dict[str, float]:
    """ "active_units" (`health.summarize`)."""
    return health.summarize(means)

  def prior_sample(self, state: VaeState, rng: Array, index: Array) -> Latents:
    """(z [N, Z],) of the prior; row i depends on (rng, i) only."""
    rows = random.row_keys(random.stream(rng, "z"), index)
    return self.network.apply(state.net.variables(ema=True), rows, method="prior_sample")

  def decode(self, state: VaeState, z: Latents, labels: Array | None = None, *, ema: bool = True) -> Images:
    """E[x|z], [N, H, W, C].

    Raises:
      ValueError: labels, which this model does not use.
    """
    if labels is not None:
      raise ValueError("this model is unconditional: it takes no labels")
    return self.network.apply(state.net.variables(ema=ema), z, method="mean_image")

  def visualize(self, state: VaeState, batch: Batch, rng: Array) -> dict[str, Images]:
    """ "reconstructions": pairs of an image and its reconstruction from one draw of z."""
    rows = random.row_keys(random.stream(rng, "z"), batch["index"])
    x = batch["image"]
    again = self.network.apply(state.net.variables(ema=True), x, rows, method="reconstruct")
    return {"reconstructions": jnp.stack([x, again], axis=1).reshape(-1, *x.shape[1:])}

  def posterior_sample(self, state: VaeState, x: Images, rng: Array, index: Array, k: int) -> tuple[Latents, Array]:
    """k draws of q(z|x): (z [k, B, Z],) and log q [k, B] in nats."""
    variables = state.net.variables(ema=True)

    def draw(i: Array) -> tuple[Latents, Array]:
      rows = random.row_keys(jax.random.fold_in(random.stream(rng, "z"), i), index)
      return self.network.apply(variables, x, rows, method="infer")

    return jax.vmap(draw)(jnp.arange(k))

  def log_likelihood(self, state: VaeState, x: Images, z: Latents) -> Array:
    """log p(x|z) in nats, [k, B] for (z [k, B, Z],)."""
    variables = state.net.variables(ema=True)
    return jax.vmap(lambda z: self.network.apply(variables, x, z, method="log_likelihood"))(z)

  def log_prior(self, state: VaeState, z: Latents) -> Array:
    """log p(z) in nats, [k, B] for (z [k, B, Z],)."""
    variables = state.net.variables(ema=True)
    return jax.vmap(lambda z: self.network.apply(variables, z, method="log_prior"))(z)

  def bound_terms(self, state: VaeState, x: Images, rng: Array, index: Array, k: int) -> tuple[Array, dict[str, Array]]:
    """Distortion of k draws and rates, [k, B] each in nats; encoded once."""
    variables = state.net.variables(ema=True)

    def draw(i: Array) -> tuple[Array, dict[str, Array]]:
      rows = random.row_keys(jax.random.fold_in(random.stream(rng, "z"), i), index)
      terms = self.network.apply(variables, x, rows, train=False)
      return terms.distortion, terms.rates

    return jax.vmap(draw)(jnp.arange(k))

  def posterior_moments(self, state: VaeState, x: Images) -> tuple[Array, Array]:
    """Mean and log-variance of q(z|x), [B, Z].

    Raises:
      ConfigError: the posterior is no Gaussian of independent latents.
    """
    if not isinstance(self.network.posterior, DiagonalGaussian):
      kind = type(self.network.posterior).__name__
      raise ConfigError(
        f"the posterior {kind} has no mean and variance in closed form; metrics of the aggregate posterior need "
        'config.posterior.name="diagonal_gaussian"'
      )
    return self.network.apply(state.net.variables(ema=True), x, method="moments")


def _bound(terms: Terms, mask: Array | None = None) -> Metrics:
  values = {"elbo": -(terms.distortion + terms.rate), "distortion": terms.distortion, "rate": terms.rate}
  return {name: Mean.of(value, mask) for name, value in values.items()}


def from_config(config: Any, spec: Spec, axis_name: str | None = None) -> VAE:
  """The VAE of ``config`` for data of ``spec``; no arrays are made.

  Raises:
    ConfigError: a section that names no known choice, or a pair that does not go together.
  """
  if "z_dim" not in config.model:
    raise ConfigError("config.model lacks z_dim, the size of the latents")
  posterior = build(POSTERIORS, config.posterior, "posterior")
  likelihood = build(LIKELIHOODS, config.likelihood, "likelihood", pixel_range=spec.pixel_range)
  model = build(
    NETWORKS,
    config.model,
    "model",
    image_shape=spec.image_shape,
    num_stats=posterior.num_stats(config.model.z_dim),
    num_params=likelihood.num_params,
    bn_axis_name=axis_name if config.parallel.sync_batch_norm else None,
    dtype=config.dtype,
  )
  prior = build(PRIORS, config.prior, "prior", z_dim=config.model.z_dim)
  return VAE(
    spec=spec,
    network=LatentVariableModel(model=model, posterior=posterior, prior=prior, likelihood=likelihood),
    objective=build(OBJECTIVES, config.objective, "objective"),
    tx=build_optimizer(config.optim, "optim", config.train.grad_clip),
    ema=build_ema(config.ema),
    axis_name=axis_name,
  )
