"""Variational autoencoders: the state, and one training step (Kingma & Welling 2013, arXiv:1312.6114, Algorithm 1)."""

import dataclasses
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
from common.given import check_given, given_of
from common.restoration.networks import triples
from common.state import NetState, apply_gradients, init_network
from common.types import Array, Batch, Given, Images, Latents, Mean, Metrics, PyTree
from vae import health
from vae.corruptions import Corruption
from vae.model import LatentVariableModel, Terms
from vae.objectives.importance import importance
from vae.objectives.objective import Context, Objective
from vae.priors import ConditionalNormal, NoPrior, StandardNormal

MUTABLE = ("batch_stats", "codebook")  # what a training pass changes besides the parameters


class VaeState(flax.struct.PyTreeNode):
  """The one network, and the number of steps taken."""

  step: Array
  net: NetState


@dataclasses.dataclass(frozen=True)
class VAE:
  """A latent-variable model trained on a bound of its likelihood, or on another objective.

  Fields are config keys of these names.
  """

  spec: Spec
  network: LatentVariableModel
  objective: Objective
  corruption: Corruption
  tx: optax.GradientTransformation
  ema: Ema
  axis_name: str | None

  batches_per_step = None
  summarize = staticmethod(health.summarize)

  @property
  def given(self) -> tuple[str, ...]:
    return self.network.rows

  @property
  def has_prior(self) -> bool:
    return not isinstance(self.network.prior, NoPrior)

  @property
  def normal_latents(self) -> bool:
    return isinstance(self.network.prior, StandardNormal) and len(self.network.layers) == 1

  @property
  def starts_at_mean(self) -> bool:
    """Whether `init` takes the mean training image."""
    return getattr(self.network.decoder, "starts_at_mean", False)

  @property
  def alarms(self) -> tuple[Alarm, ...]:
    return health.alarms(self.network, warms_up="beta" in schedules.moving(self.objective))

  def init(self, rng: Array, batch: Batch) -> VaeState:
    """Returns a fresh network; ``batch`` (leaves [B, ...]) gives shapes and, with `starts_at_mean`, the mean image."""
    keys, x = random.row_keys(rng, batch["index"]), batch["image"]
    with within("model"):
      net = init_network(self.network, self.tx, self.ema, rng, x, self._given(batch), keys, train=True)
    if self.starts_at_mean:
      params = {**net.params, "decoder": self.network.decoder.start_at(net.params["decoder"], x[0])}
      net = net.replace(params=params, ema_params=self.ema.start(params))
    return VaeState(step=jnp.zeros((), jnp.int32), net=net)

  def train_step(self, state: VaeState, batch: Batch, rng: Array) -> tuple[VaeState, Metrics]:
    """Takes one step on the mean of the objective over the batch; its schedules are among the metrics."""
    net = state.net
    grads, (losses, terms, mutable) = jax.grad(self.loss, has_aux=True)(net.params, net, batch, rng)
    new, norms = apply_gradients(net, grads, self.tx, self.ema, mutable=mutable, axis_name=self.axis_name)
    return VaeState(step=state.step + 1, net=new), {**self.figures(losses, terms, net.updates), **norms}

  def loss(self, params: PyTree, net: NetState, batch: Batch, rng: Array) -> tuple[Array, tuple[Array, Terms, PyTree]]:
    """Returns the objective with the posterior's penalties, averaged over the batch; of each image [B]; their terms;
    and the collections that a training pass changes.
    """
    variables = {"params": params, **net.mutable}
    terms, mutable = self._terms(variables, batch, rng, train=True)
    losses = self.objective(terms, self._context(variables, batch, rng, net.updates))
    losses += sum(jnp.mean(penalty, axis=0) for penalty in terms.penalties.values())
    return jnp.mean(losses), (losses, terms, mutable)

  def figures(self, losses: Array, terms: Terms, updates: Array) -> Metrics:
    """Returns the metrics of a training pass before update ``updates``."""
    moving = schedules.moving(self.objective)
    weights = {name: Mean.of(jnp.full_like(losses, value(updates))) for name, value in moving.items()}
    return {"loss": Mean.of(losses), **_bound(terms), **weights}

  def _terms(self, variables: PyTree, batch: Batch, rng: Array, *, train: bool) -> tuple[Terms, PyTree]:
    """Returns the terms of the objective's k draws, [k, B], and the collections that a training pass changes."""
    x, given, index, k = batch["image"], self._given(batch), batch["index"], self.objective.draws
    z_rng = random.stream(rng, "z")
    corrupted = self.corruption(x, random.row_keys(random.stream(rng, "corruption"), index)) if train else x
    rngs = z_rng[None] if k == 1 else jax.vmap(lambda i: jax.random.fold_in(z_rng, i))(jnp.arange(k))

    def draw(key: Array, z_weight: Array | None) -> tuple[Terms, PyTree]:
      keys, mutable = random.row_keys(key, index), MUTABLE if train else []
      options: dict[str, Any] = {"train": train, "corrupted": corrupted, "z_weight": z_weight, "mutable": mutable}
      return self.network.apply(variables, x, given, keys, **options)

    def draw_all(z_weight: Array | None) -> tuple[Terms, PyTree]:
      if k == 1:
        terms, mutable = draw(rngs[0], None if z_weight is None else z_weight[0])
        return jax.tree.map(lambda leaf: leaf[None], terms), mutable
      terms, mutable = jax.vmap(draw)(rngs, z_weight)
      return terms, jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), mutable)

    terms, mutable = draw_all(None)
    if self.objective.doubly and train:
      # The second pass computes the same values, which the compiler sees: only the weights of z's gradient are new.
      terms, mutable = draw_all(importance(terms))
    return terms, mutable

  def _context(self, variables: PyTree, batch: Batch, rng: Array, updates: Array) -> Context:
    given = self._given(batch)
    keys = random.row_keys(random.stream(rng, "objective"), batch["index"])
    return Context(
      updates=updates,
      decoder_params=variables["params"]["decoder"],
      decode=lambda z: self.network.apply(variables, z, given, method="mean_image"),
      prior_sample=lambda: self.network.apply(
        variables, random.row_stream(keys, "prior"), given, method="prior_sample"
      ),
    )

  def _given(self, batch: Batch) -> Given:
    return given_of(batch, self.given)

  def eval_step(self, state: VaeState, batch: Batch, rng: Array) -> Metrics:
    """Computes the bound with the objective's draws of z, the objective's figures, and those of `health.look`."""
    variables, mask = state.net.variables(ema=True), batch["mask"]
    terms, _ = self._terms(variables, batch, rng, train=False)
    figures = {name: Mean.of(value, mask) for name, value in self.objective.figures(terms).items()}
    other = tuple(jnp.roll(z[0], 1, axis=0) for z in terms.z)
    log_p = self.network.apply(variables, batch["image"], self._given(batch), other, method="log_likelihood")
    log_var_range = self.network.posterior.log_var_range if self.network.gaussian else ()
    return _bound(terms, mask) | figures | health.look(terms, -log_p, log_var_range, mask)

  def prior_sample(self, state: VaeState, rng: Array, index: Array, given: Given = None) -> Latents:
    """Draws z from the prior for each row, a tuple of [N, Z]; row i depends on (rng, i, given's row i) only.

    Raises:
      ConfigError: the model has no prior.
      ValueError: the prior depends on what the model is given, and ``given`` is not that.
    """
    if not self.has_prior:
      raise ConfigError('config.prior.name="none" has no draws')
    if isinstance(self.network.prior, ConditionalNormal):
      check_given(given, self.given)
    keys = random.row_keys(random.stream(rng, "z"), index)
    return self.network.apply(state.net.variables(ema=True), keys, given, method="prior_sample")

  def decode(self, state: VaeState, z: Latents, given: Given = None, *, ema: bool = True) -> Images:
    """Returns E[x|z], [N, H, W, C].

    Raises:
      ValueError: ``given`` does not have exactly the rows that the model is given.
    """
    check_given(given, self.given)
    return self.network.apply(state.net.variables(ema=ema), z, given, method="mean_image")

  def visualize(self, state: VaeState, batch: Batch, rng: Array) -> dict[str, Images]:
    """Returns "reconstructions": pairs of an image and its reconstruction from one draw of z.

    A model that restores shows "restored" instead: what is seen, one draw of p(z|seen), and the image.
    """
    keys, x, given = random.row_keys(random.stream(rng, "z"), batch["index"]), batch["image"], self._given(batch)
    if "seen" in self.given:
      restored = self.decode(state, self.prior_sample(state, rng, batch["index"], given), given)
      return {"restored": triples(batch["seen"], restored, x)}
    again = self.network.apply(state.net.variables(ema=True), x, given, keys, method="reconstruct")
    return {"reconstructions": jnp.stack([x, again], axis=1).reshape(-1, *x.shape[1:])}

  def posterior_sample(self, state: VaeState, batch: Batch, rng: Array, k: int) -> tuple[Latents, Array]:
    """Draws k times from q(z|x): a tuple of [k, B, Z], and log q [k, B] in nats."""
    return self._of_draws(state, batch, rng, k, method="infer")

  def bound_terms(self, state: VaeState, batch: Batch, rng: Array, k: int) -> tuple[Array, dict[str, Array]]:
    """Returns the distortion of k draws and the rates, [k, B] each in nats; the images are encoded once."""
    terms = self._of_draws(state, batch, rng, k, train=False)
    return terms.distortion, terms.rates

  def log_likelihood(self, state: VaeState, batch: Batch, z: Latents) -> Array:
    """Returns log p(x|z) in nats, [k, B] for a tuple of [k, B, Z]."""
    variables, x, given = self._of_density(state), batch["image"], self._given(batch)
    return jax.vmap(lambda z: self.network.apply(variables, x, given, z, method="log_likelihood"))(z)

  def log_prior(self, state: VaeState, batch: Batch, z: Latents) -> Array:
    """Returns log p(z) in nats, [k, B] for a tuple of [k, B, Z]."""
    variables, given = self._of_density(state), self._given(batch)
    return jax.vmap(lambda z: self.network.apply(variables, z, given, method="log_prior"))(z)

  def posterior_moments(self, state: VaeState, batch: Batch) -> tuple[Array, Array]:
    """Returns mean and log-variance of q(z|x), [B, Z].

    Raises:
      ConfigError: the posterior is not one layer of independent Gaussian latents.
    """
    variables = self._of_density(state)
    if not self.network.gaussian or len(self.network.layers) > 1:
      kind = f"{type(self.network.posterior).__name__} of {' and '.join(self.network.layers)}"
      raise ConfigError(
        f"the posterior {kind} has no mean and variance in closed form; metrics of the aggregate posterior need "
        'config.posterior.name="diagonal_gaussian" and one layer of latents'
      )
    return self.network.apply(variables, batch["image"], self._given(batch), method="moments")

  def _of_draws(self, state: VaeState, batch: Batch, rng: Array, k: int, **options: Any) -> Any:
    """Applies the network to images, what the model is given, and the keys of k draws; leaves are [k, B, ...]."""
    variables, z_rng = self._of_density(state), random.stream(rng, "z")
    x, given = batch["image"], self._given(batch)

    def draw(i: Array) -> Any:
      keys = random.row_keys(jax.random.fold_in(z_rng, i), batch["index"])
      return self.network.apply(variables, x, given, keys, **options)

    return jax.vmap(draw)(jnp.arange(k))

  def _of_density(self, state: VaeState) -> Any:
    """Returns the averaged weights; raises ConfigError where the posterior has no density."""
    if not self.network.has_rate:
      raise ConfigError("likelihood metrics need a posterior with a density, and that of this model is a point")
    return state.net.variables(ema=True)


def _bound(terms: Terms, mask: Array | None = None) -> Metrics:
  """Returns "distortion" and, if q has a density, "rate" and "elbo"; with several layers, each layer's rate too."""
  values = {"distortion": terms.distortion}
  if terms.rates:
    values |= {"elbo": -(terms.distortion + terms.rate), "rate": terms.rate}
    values |= {f"rate_{name}": value for name, value in terms.rates.items() if len(terms.rates) > 1}
  values |= terms.penalties
  return {name: Mean.of(jnp.mean(value, axis=0), mask) for name, value in values.items()}
