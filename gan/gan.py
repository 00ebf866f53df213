"""Generative adversarial networks: the state, and one training step (Goodfellow et al. 2014, Algorithm 1)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jax import lax

from common import random
from common.algorithm import Alarm
from common.build import within
from common.ema import Ema
from common.errors import ConfigError
from common.given import check_given, given_of
from common.parallel import batch_gather
from common.restoration.networks import triples
from common.state import NetState, Network, apply_gradients, init_network
from common.types import Array, Batch, Given, Images, Mean, Metrics, PyTree
from gan import health
from gan.augment.augmentation import Augmentation
from gan.conditioning import Conditioning
from gan.content import Compared, Content
from gan.game import Game
from gan.losses import AdversarialLoss, by_row
from gan.networks.interface import DiscriminatorOutput, Latents
from gan.penalties import Penalty, Seen


class GanState(flax.struct.PyTreeNode):
  """The two networks, the number of rounds played, and the updates of D since the last one of G (both int32)."""

  step: Array
  generator: NetState
  discriminator: NetState
  waited: Array


@dataclasses.dataclass(frozen=True)
class GAN:
  """A generator G against a discriminator D; fields are built from the config's keys of the same names."""

  generator: Network
  discriminator: Network
  game: Game
  loss: AdversarialLoss
  penalties: Mapping[str, Penalty]
  content: Mapping[str, Content]
  augment: Augmentation
  conditioning: Conditioning
  latents: Latents
  axis_name: str | None

  def init(self, rng: Array, batch: Batch) -> GanState:
    """Returns fresh networks; only the shapes of ``batch`` (leaves [n, B, ...]) matter."""
    batch = jax.tree.map(lambda x: x[0], batch)
    given, keys = self.conditioning.vector(batch), random.row_keys(rng, batch["index"])
    z, for_g = self.conditioning.generator_inputs(jnp.zeros((len(keys), self.latents.size)), given)
    x, for_d = self.conditioning.discriminator_inputs(batch["image"], given)
    with within("generator"):
      g = init_network(*self.generator, random.stream(rng, "generator"), z, train=True, **for_g)
    with within("discriminator"):
      d = init_network(*self.discriminator, random.stream(rng, "discriminator"), x, train=True, keys=keys, **for_d)
    return GanState(step=jnp.int32(0), generator=g, discriminator=d, waited=jnp.int32(0))

  def train_step(self, state: GanState, batch: Batch, rng: Array) -> tuple[GanState, Metrics]:
    """Plays one round: n_critic updates of D, a batch each, then one of G. `Game` describes the variants.

    The fakes of G's update are made first only so that D can share them; G itself moves last. BatchNorm's running
    statistics of G move once a round, in G's own update: the passes that make fakes for D leave them alone. Those of D
    move twice in each update of D, on the real images and then on the fake ones, and never in G's update.

    ``batch`` has leaves [n, B, ...] with n = `Game.batches`; G's update has the real images and labels of the last.
    """
    game, n = self.game, self.game.n_critic
    shared = game.fakes == "shared"
    for_d = jax.tree.map(lambda x: x[:n], batch)
    for_g = game.repeated(jax.tree.map(lambda x: x[-1], batch))
    g_rng = jax.random.fold_in(rng, n - 1 if shared else n)
    fake, pullback, g_mutable = self._draw(state.generator, for_g, g_rng)

    def discriminator_update(d: NetState, turn: tuple[Array, Batch]) -> tuple[NetState, Metrics]:
      real, d_rng = turn[1], jax.random.fold_in(rng, turn[0])
      # Of fakes for D only the images [0] are kept, not G's new statistics.
      # Inside a loop of several turns XLA would not see that the last fakes are those of G's update.
      made = fake if shared and n == 1 else self._draw(state.generator, real, d_rng)[0]
      grads, (mutable, metrics) = jax.grad(self.d_loss, has_aux=True)(d.params, d, real, made, d_rng)
      _, tx, ema = self.discriminator
      d, norms = apply_gradients(d, grads, tx, ema, mutable=mutable, axis_name=self.axis_name)
      return d, {**metrics, **_prefixed("d_", norms)}

    d, turns = lax.scan(discriminator_update, state.discriminator, (jnp.arange(n), for_d), unroll=n == 1)
    d_metrics = jax.tree.map(lambda x: jnp.sum(x, axis=0), turns)
    judge = d if game.order == "alternating" else state.discriminator

    def generator_update() -> tuple[NetState, Metrics]:
      # The derivative by the images, then back through G, whose forward pass is not repeated.
      slopes, metrics = jax.grad(self.g_loss, has_aux=True)(fake, judge, for_g, g_rng)
      (grads,), (_, tx, ema) = pullback(slopes), self.generator
      g, norms = apply_gradients(state.generator, grads, tx, ema, mutable=g_mutable, axis_name=self.axis_name)
      return g, {**metrics, **_prefixed("g_", norms)}

    if not game.warmup:
      g, g_metrics, waited = *generator_update(), state.waited
    else:
      waited = state.waited + n
      due = waited >= game.needed(state.generator.updates)
      still = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(generator_update)[1])
      g, g_metrics = lax.cond(due, generator_update, lambda: (state.generator, still))
      waited = jnp.where(due, 0, waited)
    return GanState(state.step + 1, g, d, waited), {**d_metrics, **g_metrics}

  def d_loss(self, params: PyTree, d: NetState, batch: Batch, fake: Images, rng: Array) -> tuple[Array, Any]:
    """Returns L_D with its penalties, averaged over the batch, and (D's new collections, metrics)."""
    d = d.replace(params=params)
    on_real, on_fake, mutable = self._judge(d, batch, fake, rng, "batch_stats", "spectral")
    after = d.replace(mutable={**d.mutable, **mutable})

    def see(name: str) -> Seen:
      def apply_d(x: Images, half: str = "real", **ways: Array) -> Array:
        return self._apply_d(after, x, half, name, batch, rng, **ways)[0].logits

      keys = random.row_keys(random.stream(rng, name), batch["index"])
      text = self.conditioning.text
      return Seen(apply_d, batch["image"], fake, keys, self.axis_name, text.width if text else 0)

    loss = self._losses(self.loss.discriminator, on_real.logits, on_fake.logits)
    if self.conditioning.mismatched:
      other, differs = partners(batch, self.axis_name)
      on_other = self._apply_d(after, batch["image"], "real", "real", {**batch, "text": other}, rng)[0].logits
      against = self._losses(self.loss.discriminator, on_real.logits, on_other)
      loss = jnp.where(differs, 0.5 * (loss + against), loss)
    terms = {"loss": self.game.d_loss_scale * loss}
    terms |= {name: penalty.weighted(see(name), d.updates) for name, penalty in self.penalties.items()}
    terms |= self.conditioning.discriminator_terms(on_real, on_fake, batch["label"])
    shown = {"d_real_logit": on_real.logits, "d_fake_logit": on_fake.logits}
    shown |= self.loss.accuracies(on_real.logits, on_fake.logits)
    metrics = {name: Mean.of(by_row(values)) for name, values in {**_prefixed("d_", terms), **shown}.items()}
    if self.augment.p is not None:
      metrics["d_augment_p"] = Mean(self.augment.p(d.updates), jnp.ones(()))
    return jnp.mean(sum(terms.values(), start=jnp.zeros(()))), (mutable, metrics)

  def g_loss(self, fake: Images, d: NetState, batch: Batch, rng: Array) -> tuple[Array, Metrics]:
    """Returns L_G, averaged over the batch, and metrics."""
    terms = self.g_terms(fake, d, batch, rng)
    metrics = {name: Mean.of(values) for name, values in _prefixed("g_", terms).items()}
    return jnp.mean(sum(terms.values(), start=jnp.zeros(()))), metrics

  def g_terms(self, fake: Images, d: NetState, batch: Batch, rng: Array) -> dict[str, Array]:
    """Returns the terms of L_G, [B] each: the adversarial "loss", and what is added to it."""
    # D judges with the statistics of this batch and keeps none. XLA drops D(real) where the loss does not ask for it.
    on_real, on_fake, _ = self._judge(d, batch, fake, rng)
    terms = {"loss": self._losses(self.loss.generator, on_real.logits, on_fake.logits)}
    compared = Compared(fake, batch["image"], on_fake, on_real)
    terms |= {name: content.weight * content(compared) for name, content in self.content.items()}
    return terms | self.conditioning.generator_terms(on_fake, batch["label"])

  def _losses(
    self, loss: Callable[[Array, Array], Array], real: Array, fake: Array, mask: Array | None = None
  ) -> Array:
    """Applies a player's loss to logits; those of the patches of an image are averaged, [B]."""
    return by_row(loss(*self.loss.compared(real, fake, self.axis_name, mask)))

  def _judge(
    self, d: NetState, batch: Batch, fake: Images, rng: Array, *moving: str
  ) -> tuple[DiscriminatorOutput, DiscriminatorOutput, PyTree]:
    """Applies D to the real images, then to the fake ones; returns both outputs and the new ``moving`` collections.

    BatchNorm sees each half by itself; spectral vectors move in the first pass alone.
    """
    on_real, after_real = self._apply_d(d, batch["image"], "real", "real", batch, rng, *moving)
    d = d.replace(mutable={**d.mutable, **after_real})
    moving = tuple(name for name in moving if name != "spectral")
    on_fake, after_both = self._apply_d(d, fake, "fake", "fake", batch, rng, *moving)
    return on_real, on_fake, {**after_real, **after_both}

  def _apply_d(
    self, d: NetState, x: Images, half: str, dropout: str, batch: Batch, rng: Array, *moving: str, **ways: Array
  ) -> tuple[DiscriminatorOutput, PyTree]:
    """Augments images as those of a half, "real" or "fake", and applies D in training mode: output and collections.

    ``dropout`` names the pass: each has dropout of its own. ``ways`` are further arguments of D.
    """
    streams = (random.stream(rng, f"augment {half}"), random.stream(rng, f"dropout {dropout}"))
    augment_keys, keys = (random.row_keys(stream, batch["index"]) for stream in streams)
    given, x = self.conditioning.vector(batch), self.augment.apply(x, augment_keys, d.updates)
    x, known = self.conditioning.discriminator_inputs(x, given)
    return self.discriminator.module.apply(
      d.variables(), x, train=True, keys=keys, mutable=list(moving), **known, **ways
    )

  def _draw(self, g: NetState, batch: Batch, rng: Array) -> tuple[Images, Callable[[Images], tuple[PyTree]], PyTree]:
    """Generates images in training mode; also returns their pullback to G's parameters, and G's new collections."""
    given = self.conditioning.vector(batch)
    z, known = self.conditioning.generator_inputs(self.latents.draw(rng, batch["index"]), given)

    def generate(params: PyTree) -> tuple[Images, PyTree]:
      variables = {"params": params, **g.mutable}
      return self.generator.module.apply(variables, z, train=True, mutable=["batch_stats", "spectral"], **known)

    return jax.vjp(generate, g.params, has_aux=True)

  def eval_step(self, state: GanState, batch: Batch, rng: Array) -> Metrics:
    """Judges held-out images and those of the averaged generator with running BatchNorm statistics.

    D's statistics mix its passes over real and fake images, so its logits are shifted against those of training.
    """
    keys, mask, given = random.row_keys(rng, batch["index"]), batch["mask"], self.conditioning.vector(batch)
    fake = self.decode(state, self.latents.draw(rng, batch["index"]), given_of(batch, self.given))

    def logits(x: Images) -> Array:
      x, known = self.conditioning.discriminator_inputs(x, given)
      return self.discriminator.module.apply(d_variables, x, train=False, keys=keys, **known).logits

    d_variables = state.discriminator.variables()
    on_real, on_fake = logits(batch["image"]), logits(fake)
    values = {"d_real_logit": on_real, "d_fake_logit": on_fake, **self.loss.accuracies(on_real, on_fake)}
    values["d_loss"] = self.game.d_loss_scale * self._losses(self.loss.discriminator, on_real, on_fake, mask)
    values["g_loss"] = self._losses(self.loss.generator, on_real, on_fake, mask)
    means = {name: Mean.of(by_row(each), mask) for name, each in values.items()}
    if self._draws:
      z = self.latents.draw(random.stream(rng, "other"), batch["index"])
      other = self.decode(state, z, given_of(batch, self.given))
      means |= health.answers(batch["image"], fake, other, mask)
    return {**means, **health.variety(batch["image"], fake, mask, self.axis_name)}

  summarize = staticmethod(health.summarize)

  def prior_sample(self, state: GanState, rng: Array, index: Array, given: Given = None) -> Array:
    """Returns z [N, Z]; row i depends on (rng, i) only."""
    return self.latents.draw(rng, index)

  def decode(self, state: GanState, z: Array, given: Given = None, *, ema: bool = True) -> Images:
    """Returns G(z) with running BatchNorm statistics, [N, Z] -> [N, H, W, C]; ValueError: ``given`` does not fit."""
    z, known = self._generator_inputs(z, given)
    return self.generator.module.apply(state.generator.variables(ema=ema), z, train=False, **known)

  def batch_statistics(self, state: GanState, z: Array, given: Given, *, ema: bool) -> PyTree:
    """Returns BatchNorm's mean and variance in G over these latents; ConfigError: G has no BatchNorm."""
    if "batch_stats" not in state.generator.mutable:
      raise ConfigError("this generator has no BatchNorm, and so no other statistics than running ones")
    z, known = self._generator_inputs(z, given)
    variables = state.generator.variables(ema=ema)
    return self.generator.module.apply(variables, z, train=True, mutable=["moments"], **known)[1]["moments"]

  def _generator_inputs(self, z: Array, given: Given) -> tuple[Array, dict[str, Array]]:
    check_given(given, self.given)
    return self.conditioning.generator_inputs(z, self.conditioning.vector(given or {}))

  def with_statistics(self, state: GanState, statistics: PyTree) -> GanState:
    return state.replace(generator=state.generator.with_collection("batch_stats", statistics))

  def visualize(self, state: GanState, batch: Batch, rng: Array) -> dict[str, Images]:
    """Returns "restored": triples of what is seen, of G's picture and of the image, if G is given what is seen."""
    if "seen" not in self.given:
      return {}
    fake = self.decode(state, self.latents.draw(rng, batch["index"]), given_of(batch, self.given))
    return {"restored": triples(batch["seen"], fake, batch["image"])}

  has_prior = True

  @property
  def batches_per_step(self) -> int:
    return self.game.batches

  @property
  def normal_latents(self) -> bool:
    return self.latents.prior == "normal"

  @property
  def given(self) -> tuple[str, ...]:
    return self.conditioning.rows

  @property
  def ema(self) -> Ema:
    return self.generator.ema

  @property
  def alarms(self) -> tuple[Alarm, ...]:
    return health.alarms(self.loss, self.game.d_loss_scale, draws=self._draws)

  @property
  def _draws(self) -> bool:
    """Whether G restores with latents, so that its pictures for one input should differ."""
    return "seen" in self.given and self.latents.size > 0


def partners(batch: Batch, axis_name: str | None) -> tuple[Array, Array]:
  """Returns the caption of the next row of the global batch, int32 [B, T], and whether it is another one, [B]."""
  everyone = batch_gather(batch["text"], axis_name)
  other = everyone[(batch["index"] + 1) % len(everyone)]
  return other, jnp.any(other != batch["text"], axis=-1)


def _prefixed(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
  return {prefix + name: value for name, value in values.items()}
