"""Generative adversarial networks: the state, and one training step (Goodfellow et al. 2014, Algorithm 1)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax import lax

from common import random
from common.alarms import Alarm
from common.algorithm import Array, Batch, Images, Mean, Metrics, PyTree, Spec
from common.build import ConfigError
from common.ema import NO_EMA, Ema
from common.state import NetState, apply_gradients, init_network
from gan import health
from gan.augment.policy import Augmentation
from gan.conditioning import Conditioning
from gan.losses import AdversarialLoss
from gan.networks.output import DiscriminatorOutput
from gan.penalties import lazy_interval, penalize
from gan.penalties.orthogonal import non_orthogonality
from gan.penalties.seen import Penalty, Seen
from gan.top_k import TopK
from gan.warmup import CriticWarmup


class GanState(flax.struct.PyTreeNode):
  """The two networks, the number of rounds played, and the running state of penalties and of "augment"."""

  step: Array
  generator: NetState
  discriminator: NetState
  aux: dict[str, Any]
  waited: Array  # int32, updates of D since the last of G


class Draw(NamedTuple):
  """Images [B, H, W, C] of G in training mode; their cotangents -> (those of G's parameters,); G's new collections."""

  fake: Images
  pullback: Callable[[Images], tuple[PyTree]]
  mutable: Any


class Turn(NamedTuple):
  """What an update of D is of: images and their keys, what they go through first, and the state before it."""

  batch: Batch
  fake: Images
  rng: Array
  show: Callable[[Images, str], Images]
  updates: Array
  aux: Any


@dataclasses.dataclass(frozen=True)
class GAN:
  """A generator against a discriminator; fields as the config's keys of the same names."""

  spec: Spec
  generator: nn.Module
  discriminator: nn.Module
  loss: AdversarialLoss
  penalties: Mapping[str, Penalty]
  augment: Augmentation
  top_k: TopK
  conditioning: Conditioning
  generator_tx: optax.GradientTransformation
  discriminator_tx: optax.GradientTransformation
  ema: Ema
  z_dim: int
  z_prior: str
  n_critic: int
  critic_warmup: CriticWarmup
  lazy_penalties: str
  weight_clip: float
  generator_orthogonal: float
  update_order: str
  fakes: str
  generator_reals: str
  generator_batch_multiple: int
  discriminator_passes: int
  discriminator_loss_scale: float
  axis_name: str | None

  @property
  def batches_per_step(self) -> int:
    return self.n_critic + (self.generator_reals == "fresh")

  has_prior = True

  @property
  def normal_latents(self) -> bool:
    return self.z_prior == "normal"

  @property
  def alarms(self) -> tuple[Alarm, ...]:
    return health.alarms(self.loss, self.discriminator_loss_scale)

  @property
  def conditional(self) -> bool:
    return self.conditioning.conditional

  def init(self, rng: Array, batch: Batch) -> GanState:
    """Fresh networks; of ``batch`` (leaves [n, B, ...]) only the shapes matter."""
    x, labels = batch["image"][0], batch["label"][0]
    rows = random.row_keys(rng, batch["index"][0])
    z, known = self.conditioning.generator_inputs(jnp.zeros((x.shape[0], self.z_dim)), labels)
    g_rng, d_rng = random.stream(rng, "generator"), random.stream(rng, "discriminator")
    g = init_network(self.generator, self.generator_tx, self.ema, g_rng, z, train=True, **known)
    images, known = self.conditioning.discriminator_inputs(x, labels)
    d = init_network(self.discriminator, self.discriminator_tx, NO_EMA, d_rng, images, train=True, rows=rows, **known)
    aux = {name: penalty.init() for name, penalty in self.penalties.items()} | {"augment": self.augment.init()}
    return GanState(step=jnp.int32(0), generator=g, discriminator=d, aux=aux, waited=jnp.int32(0))

  def train_step(self, state: GanState, batch: Batch, rng: Array) -> tuple[GanState, Metrics]:
    """n_critic updates of the discriminator, a batch each, then one of the generator (but see `CriticWarmup`).

    With ``update_order`` "simultaneous" both gradients are taken at the same point; "alternating", the generator meets
    the updated discriminator. With ``fakes`` "shared" it is judged on the latents that the discriminator last saw. With
    ``generator_reals`` "fresh" its labels, and its real images where the loss has any, are those of one more batch.
    """
    of_d = jax.tree.map(lambda x: x[: self.n_critic], batch)
    last, of_g = (jax.tree.map(lambda x, i=i: x[i], batch) for i in (self.n_critic - 1, -1))
    shared = self.fakes == "shared"
    g_rng = jax.random.fold_in(rng, self.n_critic - 1 if shared else self.n_critic)
    for_g = of_g if self.generator_batch_multiple == 1 else self._widened(of_g)
    draw = self._draw(state.generator, for_g, g_rng)

    def critic_update(carry: tuple[NetState, Any], turn: tuple[Array, Batch]) -> tuple[tuple[NetState, Any], Metrics]:
      d_rng = jax.random.fold_in(rng, turn[0])
      fake = self._draw(state.generator, turn[1], d_rng).fake
      d, aux, metrics = self._discriminator_update(*carry, turn[1], fake, d_rng)
      return (d, aux), metrics

    start = state.discriminator, state.aux
    if self.n_critic > 1:
      (d, aux), stacked = lax.scan(critic_update, start, (jnp.arange(self.n_critic), of_d))
      d_metrics = jax.tree.map(lambda x: jnp.sum(x, axis=0), stacked)
    elif shared:  # G runs once: in a compiled loop XLA does not see that twice would be the same
      d, aux, d_metrics = self._discriminator_update(*start, last, draw.fake, g_rng)
    else:
      (d, aux), d_metrics = critic_update(start, (jnp.asarray(0), last))
    judge, judge_aux = (d, aux) if self.update_order == "alternating" else start

    def generator_update() -> tuple[NetState, Metrics]:
      return self._generator_update(state.generator, judge, judge_aux, for_g, draw, g_rng)

    waited = state.waited
    if not self.critic_warmup.updates:
      g, g_metrics = generator_update()
    else:
      due = waited + self.n_critic >= self.critic_warmup.needed(state.generator.updates, self.n_critic)
      nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(generator_update)[1])
      g, g_metrics = lax.cond(due, generator_update, lambda: (state.generator, nothing))
      waited = jnp.where(due, 0, waited + self.n_critic)
    return GanState(state.step + 1, g, d, aux, waited), {**d_metrics, **g_metrics}

  def _widened(self, batch: Batch) -> Batch:
    """A batch of G: each row's image and label several times, each with latents of its own."""
    times = self.generator_batch_multiple
    wide = jax.tree.map(lambda x: jnp.repeat(x, times, axis=0), batch)
    copy = jnp.arange(wide["index"].shape[0]) % times
    return {**wide, "index": wide["index"] * times + copy}  # a row's own, on whichever device

  def _discriminator_update(
    self, d: NetState, aux: Any, batch: Batch, fake: Images, rng: Array
  ) -> tuple[NetState, Any, Metrics]:
    turn = Turn(batch, fake, rng, self._augmenting(d, aux, rng, batch["index"]), d.updates, aux)
    lazy = {name: penalty for name, penalty in self.penalties.items() if penalty.every > 1}
    apart = lazy if self.lazy_penalties == "update" else {}
    within = {name: penalty for name, penalty in self.penalties.items() if name not in apart}

    def loss_fn(params: Any) -> tuple[Array, Any]:
      variables = {"params": params, **d.mutable}
      on_real, on_fake, mutable = self._judge(turn, variables, update=True)
      losses = self.discriminator_loss_scale * self.loss.discriminator(on_real.logits, on_fake.logits)
      penalties, new_aux = self._penalize(turn, within, {**variables, **mutable}, on_real.logits, on_fake.logits)
      penalties |= self.conditioning.discriminator_terms(on_real, on_fake, batch["label"])
      total = jnp.mean(sum(penalties.values(), start=losses))
      return total, (losses, penalties, on_real.logits, on_fake.logits, mutable, new_aux)

    grads, (losses, penalties, on_real, on_fake, mutable, new_aux) = jax.grad(loss_fn, has_aux=True)(d.params)
    p = self.augment.probability(aux["augment"], d.updates)
    above = on_real - (self.loss.boundary or 0.0)
    new_aux["augment"] = self.augment.adapt(aux["augment"], above, d.updates, self.axis_name)
    d, norms = apply_gradients(d, grads, self.discriminator_tx, NO_EMA, mutable=mutable, axis_name=self.axis_name)
    if apart:
      nothing = {name: jnp.zeros_like(losses) for name in apart}, {name: aux[name] for name in apart}
      due = turn.updates % lazy_interval(apart) == 0
      d, values, state = lax.cond(due, lambda d: self._lazy_update(turn, apart, d), lambda d: (d, *nothing), d)
      penalties, new_aux = penalties | values, new_aux | state
    if self.weight_clip:  # Arjovsky et al. 2017, Algorithm 1, line 7
      d = d.replace(params=jax.tree.map(lambda w: jnp.clip(w, -self.weight_clip, self.weight_clip), d.params))
    return (
      d,
      new_aux,
      {
        "d_loss": Mean.of(losses),
        "d_real_logit": Mean.of(on_real),
        "d_fake_logit": Mean.of(on_fake),
        **{name: Mean.of(right) for name, right in self.loss.accuracies(on_real, on_fake).items()},
        **{f"d_{name}": Mean.of(values) for name, values in penalties.items()},
        **({"d_augment_p": Mean(p, jnp.ones(()))} if self.augment.reports else {}),
        **{f"d_{name}": norm for name, norm in norms.items()},
      },
    )

  def _lazy_update(
    self, turn: Turn, penalties: Mapping[str, Penalty], d: NetState
  ) -> tuple[NetState, dict[str, Array], Any]:
    """An update of D for lazy penalties alone, after that for the loss (Karras et al. 2020, App. B)."""

    def loss_fn(params: Any) -> tuple[Array, Any]:
      variables = {"params": params, **d.mutable}
      on_real, on_fake, _ = self._judge(turn, variables, update=False)  # compiled away where no penalty reads logits
      values, state = self._penalize(turn, penalties, variables, on_real.logits, on_fake.logits)
      return jnp.mean(sum(values.values(), start=jnp.zeros_like(on_real.logits))), (values, state)

    grads, (values, state) = jax.grad(loss_fn, has_aux=True)(d.params)
    moved, _ = apply_gradients(d, grads, self.discriminator_tx, NO_EMA, axis_name=self.axis_name)
    return moved.replace(updates=d.updates), values, state  # what counts D's updates counts those for the loss

  def _judge(self, turn: Turn, variables: Any, *, update: bool) -> tuple[DiscriminatorOutput, DiscriminatorOutput, Any]:
    """D on a turn's real and generated images, and its collections after that."""
    images = turn.show(turn.batch["image"], "real"), turn.show(turn.fake, "fake")
    return self._discriminate(variables, *images, turn.batch["label"], turn.rng, turn.batch["index"], update=update)

  def _penalize(
    self, turn: Turn, penalties: Mapping[str, Penalty], variables: Any, on_real: Array, on_fake: Array
  ) -> tuple[dict[str, Array], Any]:
    """These penalties of D at ``variables``, {name: [B]}, and their running state."""
    labels, index = turn.batch["label"], turn.batch["index"]

    def see(name: str) -> Seen:
      rows = random.row_keys(random.stream(turn.rng, name), index)
      dropout = random.row_keys(random.stream(turn.rng, f"dropout {name}"), index)

      def apply_d(x: Images, half: str = "real") -> Array:
        x, known = self.conditioning.discriminator_inputs(turn.show(x, half), labels)
        return self.discriminator.apply(variables, x, train=True, rows=dropout, **known).logits

      images = turn.batch["image"], turn.fake
      return Seen(apply_d, variables["params"], *images, on_real, on_fake, turn.updates, rows, self.axis_name)

    return penalize(penalties, see, turn.updates, turn.aux)

  def _generator_update(
    self, g: NetState, d: NetState, aux: Any, batch: Batch, draw: Draw, rng: Array
  ) -> tuple[NetState, Metrics]:
    show = self._augmenting(d, aux, rng, batch["index"])

    def loss_fn(fake: Images) -> tuple[Array, tuple[Array, dict[str, Array], Array]]:
      # D judges with this batch's statistics but keeps none; D(real) is compiled away where no loss asks for it.
      images, labels, index = (show(batch["image"], "real"), show(fake, "fake")), batch["label"], batch["index"]
      on_real, on_fake, _ = self._discriminate(d.variables(), *images, labels, rng, index, update=False)
      losses = self.loss.generator(on_real.logits, on_fake.logits)
      terms = self.conditioning.generator_terms(on_fake, labels)
      weights = self.top_k.weights(on_fake.logits, index, g.updates, self.axis_name)
      return jnp.mean(weights * sum(terms.values(), start=losses)), (losses, terms, jnp.sign(weights))

    on_fake, (losses, terms, counts) = jax.grad(loss_fn, has_aux=True)(draw.fake)
    (grads,) = draw.pullback(on_fake)
    if self.generator_orthogonal:  # Brock et al. 2019, Eq. 3
      value, slope = jax.value_and_grad(non_orthogonality)(g.params)
      grads = jax.tree.map(lambda a, b: a + self.generator_orthogonal * b, grads, slope)
      terms["orthogonal"] = jnp.full_like(losses, self.generator_orthogonal * value)
    g, norms = apply_gradients(g, grads, self.generator_tx, self.ema, mutable=draw.mutable, axis_name=self.axis_name)
    means = {f"g_{name}": Mean.of(values, counts) for name, values in terms.items()}
    return g, {"g_loss": Mean.of(losses, counts), **means, **{f"g_{name}": norm for name, norm in norms.items()}}

  def _augmenting(self, d: NetState, aux: Any, rng: Array, index: Array) -> Callable[[Images, str], Images]:
    """What images of a half, "real" or "fake", go through before D; a row of one does not tell of the other's."""
    p = self.augment.probability(aux["augment"], d.updates)

    def show(x: Images, half: str) -> Images:
      return self.augment.apply(x, random.row_keys(random.stream(rng, f"augment {half}"), index), p)

    return show

  def _draw(self, g: NetState, batch: Batch, rng: Array) -> Draw:
    """Images of fresh latents for ``batch``, and the way back to G's parameters."""
    z = self._latents(rng, batch["index"])

    def generate(params: Any) -> tuple[Images, Any]:
      return self._generate({"params": params, **g.mutable}, z, batch["label"], train=True)

    return Draw(*jax.vjp(generate, g.params, has_aux=True))

  def _latents(self, rng: Array, index: Array) -> Array:
    """z [B, Z] from the prior, row i from (rng, i)."""
    rows = random.row_keys(random.stream(rng, "z"), index)
    if self.z_prior == "uniform":
      return random.uniform(rows, (self.z_dim,), -1.0, 1.0)
    return random.normal(rows, (self.z_dim,))

  def _generate(self, variables: Any, z: Array, labels: Array | None, *, train: bool) -> tuple[Images, Any]:
    """G(z), and G's collections after the pass."""
    z, known = self.conditioning.generator_inputs(z, labels)
    mutable = ["batch_stats", "spectral"] if train else []
    return self.generator.apply(variables, z, train=train, mutable=mutable, **known)

  def _discriminate(
    self, variables: Any, real: Images, fake: Images, labels: Array, rng: Array, index: Array, *, update: bool
  ) -> tuple[DiscriminatorOutput, DiscriminatorOutput, Any]:
    """D on both halves in training mode, and D's collections after the passes, which move with ``update`` only.

    In one pass BatchNorm sees real and fake together; in two, each by itself, real first. Spectral vectors move once,
    in the one pass or in that over real images.
    """
    moving = [["batch_stats", "spectral"], ["batch_stats"]] if update else [[], []]
    rows = [random.row_keys(random.stream(rng, f"dropout {half}"), index) for half in ("real", "fake")]

    def apply(
      variables: Any, x: Images, labels: Array, rows: Array, mutable: list[str]
    ) -> tuple[DiscriminatorOutput, Any]:
      x, known = self.conditioning.discriminator_inputs(x, labels)
      return self.discriminator.apply(variables, x, train=True, rows=rows, mutable=mutable, **known)

    # Where no update asks for D(real) and no BatchNorm mixes the halves, one pass would only be more work.
    if self.discriminator_passes == 1 and (update or "batch_stats" in variables):
      inputs = jnp.concatenate([real, fake]), jnp.concatenate([labels, labels])
      both, mutable = apply(variables, *inputs, jnp.concatenate(rows), moving[0])
      half = real.shape[0]
      on_real, on_fake = jax.tree.map(lambda x: x[:half], both), jax.tree.map(lambda x: x[half:], both)
      return on_real, on_fake, mutable
    on_real, after_real = apply(variables, real, labels, rows[0], moving[0])
    on_fake, after_fake = apply({**variables, **after_real}, fake, labels, rows[1], moving[1])
    return on_real, on_fake, {**after_real, **after_fake}

  def eval_step(self, state: GanState, batch: Batch, rng: Array) -> Metrics:
    """D on held-out images and on the averaged generator's, with running BatchNorm statistics, and their `variety`.

    Those of D mix its passes over real and fake images, so its logits are shifted against training's.
    """
    labels, rows = batch["label"], random.row_keys(rng, batch["index"])
    fake = self.decode(state, self._latents(rng, batch["index"]), labels if self.conditional else None)

    def judge(x: Images) -> Array:
      x, known = self.conditioning.discriminator_inputs(x, labels)
      return self.discriminator.apply(state.discriminator.variables(), x, train=False, rows=rows, **known).logits

    real_logits, fake_logits, mask = judge(batch["image"]), judge(fake), batch["mask"]
    return {
      "d_loss": Mean.of(self.discriminator_loss_scale * self.loss.discriminator(real_logits, fake_logits), mask),
      "g_loss": Mean.of(self.loss.generator(real_logits, fake_logits), mask),
      "d_real_logit": Mean.of(real_logits, mask),
      "d_fake_logit": Mean.of(fake_logits, mask),
      **{name: Mean.of(right, mask) for name, right in self.loss.accuracies(real_logits, fake_logits).items()},
      **health.variety(batch["image"], fake, mask, self.axis_name),
    }

  def summarize(self, means: Mapping[str, Any]) -> dict[str, float]:
    """ "pixel_diversity" and "pixel_coverage" (`health.summarize`)."""
    return health.summarize(means)

  def prior_sample(self, state: GanState, rng: Array, index: Array) -> Array:
    """z [N, Z]; row i depends on (rng, i) only."""
    return self._latents(rng, index)

  def decode(self, state: GanState, z: Array, labels: Array | None = None, *, ema: bool = True) -> Images:
    """G(z) with running BatchNorm statistics: [N, Z] -> [N, H, W, C].

    Raises:
      ValueError: labels for an unconditional model, or none for a conditional one.
    """
    if (labels is not None) != self.conditional:
      raise ValueError(f"this model is {'' if self.conditional else 'un'}conditional: labels={labels} do not fit")
    return self._generate(state.generator.variables(ema=ema), z, labels, train=False)[0]

  def batch_statistics(self, state: GanState, z: Array, labels: Array | None, *, ema: bool) -> PyTree:
    """BatchNorm's mean and variance of G over these latents.

    Raises:
      ConfigError: G has no BatchNorm.
    """
    if "batch_stats" not in state.generator.mutable:
      raise ConfigError("this generator has no BatchNorm, and so no other statistics than running ones")
    z, known = self.conditioning.generator_inputs(z, labels)
    variables = state.generator.variables(ema=ema)
    return self.generator.apply(variables, z, train=True, mutable=["moments"], **known)[1]["moments"]

  def with_statistics(self, state: GanState, statistics: PyTree) -> GanState:
    mutable = {**state.generator.mutable, "batch_stats": statistics}
    return state.replace(generator=state.generator.replace(mutable=mutable))

  def visualize(self, state: GanState, batch: Batch, rng: Array) -> dict[str, Images]:
    return {}
