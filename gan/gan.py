"""Generative adversarial networks: the state, and one training step (Goodfellow et al. 2014, Algorithm 1)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax import lax

from common import random
from common.algorithm import Array, Batch, Images, Mean, Metrics, Spec
from common.build import ConfigError, build
from common.optim import build_optimizer
from common.state import NO_EMA, Ema, NetState, apply_gradients, init_network
from gan.conditioning import CONDITIONING, Concat, Unconditional
from gan.losses import LOSSES, AdversarialLoss
from gan.networks import DISCRIMINATORS, GENERATORS
from gan.networks.output import DiscriminatorOutput


class GanState(flax.struct.PyTreeNode):
  """The two networks, and the number of rounds played."""

  step: Array
  generator: NetState
  discriminator: NetState


@dataclasses.dataclass(frozen=True)
class GAN:
  """A generator against a discriminator; fields as the config's keys of the same names."""

  spec: Spec
  generator: nn.Module
  discriminator: nn.Module
  loss: AdversarialLoss
  conditioning: Unconditional | Concat
  generator_tx: optax.GradientTransformation
  discriminator_tx: optax.GradientTransformation
  ema: Ema
  z_dim: int
  z_prior: str
  n_critic: int
  update_order: str
  fakes: str
  discriminator_passes: int
  discriminator_loss_scale: float
  axis_name: str | None

  @property
  def batches_per_step(self) -> int:
    return self.n_critic

  @property
  def conditional(self) -> bool:
    return self.conditioning.conditional

  def init(self, rng: Array, batch: Batch) -> GanState:
    """Fresh networks; of ``batch`` (leaves [n, B, ...]) only the shapes matter."""
    x, labels = batch["image"][0], batch["label"][0]
    rows = random.row_keys(rng, batch["index"][0])
    z = self.conditioning.latents(jnp.zeros((x.shape[0], self.z_dim)), labels)
    g_rng, d_rng = random.stream(rng, "generator"), random.stream(rng, "discriminator")
    return GanState(
      step=jnp.zeros((), jnp.int32),
      generator=init_network(self.generator, self.generator_tx, self.ema, g_rng, z, train=True),
      discriminator=init_network(
        self.discriminator,
        self.discriminator_tx,
        NO_EMA,
        d_rng,
        self.conditioning.images(x, labels),
        train=True,
        rows=rows,
      ),
    )

  def train_step(self, state: GanState, batch: Batch, rng: Array) -> tuple[GanState, Metrics]:
    """n_critic updates of the discriminator, a batch each, then one of the generator.

    With ``update_order`` "simultaneous" both gradients are taken at the same point; "alternating", the generator meets
    the updated discriminator. With ``fakes`` "shared" it is judged on the latents that the discriminator last saw.
    """

    def critic_update(d: NetState, turn: tuple[Array, Batch]) -> tuple[NetState, Metrics]:
      return self._discriminator_update(state.generator, d, turn[1], jax.random.fold_in(rng, turn[0]))

    if self.n_critic == 1:
      d, d_metrics = critic_update(state.discriminator, (jnp.asarray(0), jax.tree.map(lambda x: x[0], batch)))
    else:
      d, stacked = lax.scan(critic_update, state.discriminator, (jnp.arange(self.n_critic), batch))
      d_metrics = jax.tree.map(lambda x: jnp.sum(x, axis=0), stacked)
    last = jax.tree.map(lambda x: x[-1], batch)
    judge = d if self.update_order == "alternating" else state.discriminator
    g_rng = jax.random.fold_in(rng, self.n_critic - 1 if self.fakes == "shared" else self.n_critic)
    g, g_metrics = self._generator_update(state.generator, judge, last, g_rng)
    return GanState(step=state.step + 1, generator=g, discriminator=d), {**d_metrics, **g_metrics}

  def _discriminator_update(self, g: NetState, d: NetState, batch: Batch, rng: Array) -> tuple[NetState, Metrics]:
    real, labels = batch["image"], batch["label"]
    fake, _ = self._generate(g.variables(), self._latents(rng, batch["index"]), labels, train=True)

    def loss_fn(params: Any) -> tuple[Array, Any]:
      variables = {"params": params, **d.mutable}
      on_real, on_fake, mutable = self._discriminate(variables, real, fake, labels, rng, batch["index"])
      losses = self.discriminator_loss_scale * self.loss.discriminator(on_real.logits, on_fake.logits)
      return jnp.mean(losses), (losses, on_real.logits, on_fake.logits, mutable)

    grads, (losses, on_real, on_fake, mutable) = jax.grad(loss_fn, has_aux=True)(d.params)
    d, norms = apply_gradients(d, grads, self.discriminator_tx, NO_EMA, mutable=mutable, axis_name=self.axis_name)
    return d, {
      "d_loss": Mean.of(losses),
      "d_real_logit": Mean.of(on_real),
      "d_fake_logit": Mean.of(on_fake),
      "d_real_accuracy": Mean.of((on_real > 0).astype(jnp.float32)),
      "d_fake_accuracy": Mean.of((on_fake < 0).astype(jnp.float32)),
      **{f"d_{name}": Mean.scalar(norm) for name, norm in norms.items()},
    }

  def _generator_update(self, g: NetState, d: NetState, batch: Batch, rng: Array) -> tuple[NetState, Metrics]:
    labels, z = batch["label"], self._latents(rng, batch["index"])

    def loss_fn(params: Any) -> tuple[Array, Any]:
      fake, mutable = self._generate({"params": params, **g.mutable}, z, labels, train=True)
      # D judges with this batch's statistics but keeps none; D(real) is compiled away where no loss asks for it.
      on_real, on_fake, _ = self._discriminate(d.variables(), batch["image"], fake, labels, rng, batch["index"])
      losses = self.loss.generator(on_real.logits, on_fake.logits)
      return jnp.mean(losses), (losses, mutable)

    grads, (losses, mutable) = jax.grad(loss_fn, has_aux=True)(g.params)
    g, norms = apply_gradients(g, grads, self.generator_tx, self.ema, mutable=mutable, axis_name=self.axis_name)
    return g, {"g_loss": Mean.of(losses), **{f"g_{name}": Mean.scalar(norm) for name, norm in norms.items()}}

  def _latents(self, rng: Array, index: Array) -> Array:
    """z [B, Z] from the prior, row i from (rng, i)."""
    rows = random.row_keys(random.stream(rng, "z"), index)
    if self.z_prior == "uniform":
      return random.uniform(rows, (self.z_dim,), -1.0, 1.0)
    return random.normal(rows, (self.z_dim,))

  def _generate(self, variables: Any, z: Array, labels: Array | None, *, train: bool) -> tuple[Images, Any]:
    """G(z), and G's collections after the pass."""
    z = self.conditioning.latents(z, labels)
    return self.generator.apply(variables, z, train=train, mutable=["batch_stats"] if train else [])

  def _discriminate(
    self, variables: Any, real: Images, fake: Images, labels: Array, rng: Array, index: Array
  ) -> tuple[DiscriminatorOutput, DiscriminatorOutput, Any]:
    """D on both halves in training mode, and D's collections after the passes.

    In one pass BatchNorm sees real and fake together; in two, each by itself, real first.
    """
    rows = [random.row_keys(random.stream(rng, f"dropout {half}"), index) for half in ("real", "fake")]
    images = [self.conditioning.images(x, labels) for x in (real, fake)]

    def apply(variables: Any, x: Images, rows: Array) -> tuple[DiscriminatorOutput, Any]:
      return self.discriminator.apply(variables, x, train=True, rows=rows, mutable=["batch_stats"])

    if self.discriminator_passes == 1:
      both, mutable = apply(variables, jnp.concatenate(images), jnp.concatenate(rows))
      half = real.shape[0]
      on_real, on_fake = jax.tree.map(lambda x: x[:half], both), jax.tree.map(lambda x: x[half:], both)
      return on_real, on_fake, mutable
    on_real, mutable = apply(variables, images[0], rows[0])
    on_fake, mutable = apply({**variables, **mutable}, images[1], rows[1])
    return on_real, on_fake, mutable

  def eval_step(self, state: GanState, batch: Batch, rng: Array) -> Metrics:
    """The discriminator on held-out images and on the averaged generator's, with running BatchNorm statistics.

    Those of D mix its passes over real and fake images, so its logits are shifted against training's.
    """
    labels, rows = batch["label"], random.row_keys(rng, batch["index"])
    fake = self.decode(state, self._latents(rng, batch["index"]), labels if self.conditional else None)

    def judge(x: Images) -> Array:
      x = self.conditioning.images(x, labels)
      return self.discriminator.apply(state.discriminator.variables(), x, train=False, rows=rows).logits

    real_logits, fake_logits, mask = judge(batch["image"]), judge(fake), batch["mask"]
    return {
      "d_loss": Mean.of(self.discriminator_loss_scale * self.loss.discriminator(real_logits, fake_logits), mask),
      "g_loss": Mean.of(self.loss.generator(real_logits, fake_logits), mask),
      "d_real_logit": Mean.of(real_logits, mask),
      "d_fake_logit": Mean.of(fake_logits, mask),
      "d_real_accuracy": Mean.of((real_logits > 0).astype(jnp.float32), mask),
      "d_fake_accuracy": Mean.of((fake_logits < 0).astype(jnp.float32), mask),
    }

  def summarize(self, means: Mapping[str, Any]) -> dict[str, float]:
    return {}

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

  def visualize(self, state: GanState, batch: Batch, rng: Array) -> dict[str, Images]:
    return {}


def from_config(config: Any, spec: Spec, axis_name: str | None = None) -> GAN:
  """The GAN of ``config`` for data of ``spec``; no arrays are made.

  Raises:
    ConfigError: a section that names no known choice, or a pair that does not go together.
  """
  if config.update_order == "simultaneous" and config.n_critic != 1:
    raise ConfigError(f'config.update_order="simultaneous" goes with config.n_critic=1, not {config.n_critic}')
  context = {
    "image_shape": spec.image_shape,
    "pixel_range": spec.pixel_range,
    "kind": spec.kind,
    "dtype": config.dtype,
    "bn_axis_name": axis_name if config.parallel.sync_batch_norm else None,
  }
  return GAN(
    spec=spec,
    generator=build(GENERATORS, config.generator, "generator", **context),
    discriminator=build(DISCRIMINATORS, config.discriminator, "discriminator", **context),
    loss=build(LOSSES, config.loss, "loss"),
    conditioning=build(CONDITIONING, config.conditioning, "conditioning", num_classes=spec.num_classes),
    generator_tx=build_optimizer(config.generator_optim, "generator_optim", config.train.grad_clip),
    discriminator_tx=build_optimizer(config.discriminator_optim, "discriminator_optim", config.train.grad_clip),
    ema=Ema(config.ema.decay, config.ema.warmup),
    z_dim=config.z_dim,
    z_prior=config.z_prior,
    n_critic=config.n_critic,
    update_order=config.update_order,
    fakes=config.fakes,
    discriminator_passes=config.discriminator_passes,
    discriminator_loss_scale=config.discriminator_loss_scale,
    axis_name=axis_name,
  )
