"""Variational autoencoders: the state, and one training step (Kingma & Welling 2013, arXiv:1312.6114, Algorithm 1)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from common import random, schedules
from common.algorithm import Alarm
from common.build import within
from common.data.spec import Spec
from common.ema import Ema
from common.errors import ConfigError
from common.state import NetState, apply_gradients, init_network
from common.types import Array, Batch, Images, Latents, Mean, Metrics
from vae import health
from vae.corruptions import Corruption
from vae.model import LatentVariableModel, Terms
from vae.objectives.importance import ImportanceWeighted, importance_bound
from vae.objectives.objective import Context, Objective
from vae.priors import NoPrior, StandardNormal

MUTABLE = ("batch_stats", "codebook")  # what a training pass changes besides the parameters


class VaeState(flax.struct.PyTreeNode):
  """The one network, and the number of steps taken."""

  step: Array
  net: NetState


@dataclasses.dataclass(frozen=True)
class VAE:
  """A latent-variable model trained on a bound of its likelihood, or on what stands in its place.

  Fields are the config's keys of the same names; ``classes`` is the number of labels that the model is given, or 0.
  """

  spec: Spec
  network: LatentVariableModel
  objective: Objective
  corruption: Corruption
  classes: int
  tx: optax.GradientTransformation
  ema: Ema
  axis_name: str | None

  batches_per_step = None

  @property
  def conditional(self) -> bool:
    return self.classes > 0

  @property
  def has_prior(self) -> bool:
    return not isinstance(self.network.prior, NoPrior)

  @property
  def normal_latents(self) -> bool:
    return isinstance(self.network.prior, StandardNormal) and len(self.network.layers) == 1

  @property
  def starts_at_mean(self) -> bool:
    """Whether `init` is to be given the mean training image."""
    return getattr(self.network.model, "starts_at_mean", False)

  @property
  def alarms(self) -> tuple[Alarm, ...]:
    return health.alarms(self.network, warms_up="beta" in schedules.moving(self.objective))

  def init(self, rng: Array, batch: Batch) -> VaeState:
    """A fresh network; of ``batch`` (leaves [B, ...]) only the shapes matter, and with `starts_at_mean` its image."""
    rows = random.row_keys(rng, batch["index"])
    x = batch["image"]
    with within("model"):
      net = init_network(self.network, self.tx, self.ema, rng, x, self._one_hot(batch), rows, train=True)
    if self.starts_at_mean:
      params = {**net.params, "model": self.network.model.start_at(net.params["model"], x[0])}
      net = net.replace(params=params, ema_params=self.ema.start(params))
    return VaeState(step=jnp.zeros((), jnp.int32), net=net)

  def train_step(self, state: VaeState, batch: Batch, rng: Array) -> tuple[VaeState, Metrics]:
    """One step on the objective's mean over the batch; what the objective has of schedules is a metric too."""
    net = state.net

    def loss_fn(params: Any) -> tuple[Array, Any]:
      variables = {"params": params, **net.mutable}
      terms, mutable = self._terms(variables, batch, rng, train=True)
      losses = self.objective(terms, self._context(variables, batch, rng, net.updates))
      losses += sum(jnp.mean(penalty, axis=0) for penalty in terms.penalties.values())
      return jnp.mean(losses), (losses, terms, mutable)

    grads, (losses, terms, mutable) = jax.grad(loss_fn, has_aux=True)(net.params)
    net, norms = apply_gradients(net, grads, self.tx, self.ema, mutable=mutable, axis_name=self.axis_name)
    weights = {
      name: Mean.of(jnp.full_like(losses, value(state.net.updates)))
      for name, value in schedules.moving(self.objective).items()
    }
    return VaeState(step=state.step + 1, net=net), {"loss": Mean.of(losses), **_bound(terms), **weights, **norms}

  def _terms(self, variables: Any, batch: Batch, rng: Array, *, train: bool) -> tuple[Terms, Any]:
    """The terms of the objective's k draws, [k, B], and the collections that a training pass changes."""
    x, y, index = batch["image"], self._one_hot(batch), batch["index"]
    seen = self.corruption(x, random.row_keys(random.stream(rng, "corruption"), index)) if train else x
    doubly = self.objective.rate == "doubly"
    z_rng, draws = random.stream(rng, "z"), self.objective.draws

    def draw(key: Array, weight: Array | None) -> tuple[Terms, Any]:
      return self.network.apply(
        variables,
        x,
        y,
        random.row_keys(key, index),
        train=train,
        rate="path" if doubly else self.objective.rate,
        seen=seen,
        weight=weight,
        mutable=MUTABLE if train else [],
      )

    def draw_all(weights: Array | None) -> tuple[Terms, Any]:
      if draws == 1:
        one = draw(z_rng, None if weights is None else weights[0])
        return jax.tree.map(lambda leaf: leaf[None], one[0]), one[1]
      keys = jax.vmap(lambda i: jax.random.fold_in(z_rng, i))(jnp.arange(draws))
      terms, mutable = jax.vmap(draw, in_axes=(0, None if weights is None else 0))(keys, weights)
      return terms, jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), mutable)

    terms, mutable = draw_all(None)
    if not (doubly and train):
      return terms, mutable
    # The second pass computes the same values, which the compiler sees: it costs nothing but its gradient's weights.
    weights = jax.nn.softmax(-(terms.distortion + terms.rate), axis=0)
    return draw_all(jax.lax.stop_gradient(weights))

  def _context(self, variables: Any, batch: Batch, rng: Array, updates: Array) -> Context:
    y = self._one_hot(batch)
    parts = self.network.model.decoder_parts
    model = variables["params"]["model"]
    return Context(
      updates=updates,
      rows=random.row_keys(random.stream(rng, "objective"), batch["index"]),
      decoder_params={name: value for name, value in model.items() if name.startswith(parts)},
      decode=lambda z: self.network.apply(variables, z, y, method="mean_image"),
      prior_sample=lambda rows: self.network.apply(variables, y, rows, method="prior_sample"),
      axis_name=self.axis_name,
    )

  def _one_hot(self, batch: Batch) -> Array:
    return jax.nn.one_hot(batch["label"], self.classes) if self.classes else jnp.zeros((len(batch["index"]), 0))

  def eval_step(self, state: VaeState, batch: Batch, rng: Array) -> Metrics:
    """The bound of held-out images, with one draw of z each, and what is known of the posterior.

    With the objective L_k of Burda et al. 2016, Eq. 8, also "importance_bound".
    """
    variables, mask = state.net.variables(ema=True), batch["mask"]
    terms, _ = self._terms(variables, batch, rng, train=False)
    found = _bound(terms, mask)
    if isinstance(self.objective, ImportanceWeighted):
      found["importance_bound"] = Mean.of(importance_bound(terms), mask)
    other = tuple(jnp.roll(z[0], 1, axis=0) for z in terms.z)
    x, y = batch["image"], self._one_hot(batch)
    of_other = -self.network.apply(variables, x, y, other, method="log_likelihood")
    log_var_range = self.network.posterior.log_var_range if self.network.gaussian else ()
    return found | health.look(terms, of_other, log_var_range, mask)

  def summarize(self, means: Mapping[str, Any]) -> dict[str, float]:
    """As `health.summarize`."""
    return health.summarize(means)

  def prior_sample(self, state: VaeState, rng: Array, index: Array) -> Latents:
    """A draw of the prior for each row, a tuple of [N, Z]; row i depends on (rng, i) only.

    Raises:
      ConfigError: the model has no prior.
    """
    if not self.has_prior:
      raise ConfigError('config.prior.name="none" has no draws')
    rows = random.row_keys(random.stream(rng, "z"), index)
    nothing = jnp.zeros((len(index), self.classes))  # p(z) is the same for all labels
    return self.network.apply(state.net.variables(ema=True), nothing, rows, method="prior_sample")

  def decode(self, state: VaeState, z: Latents, labels: Array | None = None, *, ema: bool = True) -> Images:
    """E[x|z], [N, H, W, C].

    Raises:
      ValueError: labels for a model that uses none, or none for one that does.
    """
    if (labels is not None) != self.conditional:
      raise ValueError(
        "this model is conditional: it needs labels"
        if self.conditional
        else "this model is unconditional: it takes no labels"
      )
    y = jnp.zeros((len(z[0]), 0)) if labels is None else jax.nn.one_hot(labels, self.classes)
    return self.network.apply(state.net.variables(ema=ema), z, y, method="mean_image")

  def visualize(self, state: VaeState, batch: Batch, rng: Array) -> dict[str, Images]:
    """ "reconstructions": pairs of an image and its reconstruction from one draw of z."""
    rows = random.row_keys(random.stream(rng, "z"), batch["index"])
    x = batch["image"]
    again = self.network.apply(state.net.variables(ema=True), x, self._one_hot(batch), rows, method="reconstruct")
    return {"reconstructions": jnp.stack([x, again], axis=1).reshape(-1, *x.shape[1:])}

  def posterior_sample(self, state: VaeState, batch: Batch, rng: Array, k: int) -> tuple[Latents, Array]:
    """k draws of q(z|x): a tuple of [k, B, Z], and log q [k, B] in nats."""
    variables = self._of_density(state)

    def draw(i: Array) -> tuple[Latents, Array]:
      rows = random.row_keys(jax.random.fold_in(random.stream(rng, "z"), i), batch["index"])
      return self.network.apply(variables, batch["image"], self._one_hot(batch), rows, method="infer")

    return jax.vmap(draw)(jnp.arange(k))

  def log_likelihood(self, state: VaeState, batch: Batch, z: Latents) -> Array:
    """log p(x|z) in nats, [k, B] for a tuple of [k, B, Z]."""
    variables, x, y = self._of_density(state), batch["image"], self._one_hot(batch)
    return jax.vmap(lambda z: self.network.apply(variables, x, y, z, method="log_likelihood"))(z)

  def log_prior(self, state: VaeState, z: Latents) -> Array:
    """log p(z) in nats, [k, B] for a tuple of [k, B, Z]."""
    variables = self._of_density(state)
    y = jnp.zeros((z[0].shape[1], self.classes))  # p(z) is the same for all labels
    return jax.vmap(lambda z: self.network.apply(variables, y, z, method="log_prior"))(z)

  def bound_terms(self, state: VaeState, batch: Batch, rng: Array, k: int) -> tuple[Array, dict[str, Array]]:
    """Distortion of k draws and rates, [k, B] each in nats; encoded once."""
    variables = self._of_density(state)

    def draw(i: Array) -> tuple[Array, dict[str, Array]]:
      rows = random.row_keys(jax.random.fold_in(random.stream(rng, "z"), i), batch["index"])
      terms = self.network.apply(variables, batch["image"], self._one_hot(batch), rows, train=False)
      return terms.distortion, terms.rates

    return jax.vmap(draw)(jnp.arange(k))

  def posterior_moments(self, state: VaeState, batch: Batch) -> tuple[Array, Array]:
    """Mean and log-variance of q(z|x), [B, Z].

    Raises:
      ConfigError: the posterior is no Gaussian of independent latents.
    """
    variables = self._of_density(state)
    if not self.network.gaussian or len(self.network.layers) > 1:
      kind = f"{type(self.network.posterior).__name__} of {' and '.join(self.network.layers)}"
      raise ConfigError(
        f"the posterior {kind} has no mean and variance in closed form; metrics of the aggregate posterior need "
        'config.posterior.name="diagonal_gaussian" and one layer of latents'
      )
    return self.network.apply(variables, batch["image"], self._one_hot(batch), method="moments")

  def _of_density(self, state: VaeState) -> Any:
    """The averaged weights of a model whose posterior has a density."""
    if not self.network.has_rate:
      raise ConfigError("likelihood metrics need a posterior with a density, and that of this model is a point")
    return state.net.variables(ema=True)


def _bound(terms: Terms, mask: Array | None = None) -> Metrics:
  """ "distortion" and, where the posterior has a density, "rate" and "elbo"; of several layers, each layer's rate."""
  values = {"distortion": terms.distortion}
  if terms.rates:
    values |= {"elbo": -(terms.distortion + terms.rate), "rate": terms.rate}
    values |= {f"rate_{name}": value for name, value in terms.rates.items() if len(terms.rates) > 1}
  values |= terms.penalties
  return {name: Mean.of(jnp.mean(value, axis=0), mask) for name, value in values.items()}
