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
from common.algorithm import Alarm
from common.build import within
from common.data.spec import Spec
from common.ema import Ema
from common.errors import ConfigError
from common.state import NetState, apply_gradients, init_network
from common.types import Array, Batch, Images, Mean, Metrics, PyTree
from gan import health
from gan.conditioning import Conditioning
from gan.discriminator import Discriminator
from gan.losses import AdversarialLoss
from gan.penalties.orthogonal import non_orthogonality
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


@dataclasses.dataclass(frozen=True)
class GAN:
  """A generator against a discriminator; fields as the config's keys of the same names."""

  spec: Spec
  generator: nn.Module
  discriminator: Discriminator
  loss: AdversarialLoss
  top_k: TopK
  conditioning: Conditioning
  generator_tx: optax.GradientTransformation
  ema: Ema
  z_dim: int
  z_prior: str
  n_critic: int
  critic_warmup: CriticWarmup
  generator_orthogonal: float
  update_order: str
  fakes: str
  generator_reals: str
  generator_batch_multiple: int
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
    return health.alarms(self.loss, self.discriminator.loss_scale)

  @property
  def conditional(self) -> bool:
    return self.conditioning.conditional

  def init(self, rng: Array, batch: Batch) -> GanState:
    """Fresh networks; of ``batch`` (leaves [n, B, ...]) only the shapes matter."""
    x, labels = batch["image"][0], batch["label"][0]
    rows = random.row_keys(rng, batch["index"][0])
    z, known = self.conditioning.generator_inputs(jnp.zeros((x.shape[0], self.z_dim)), labels)
    g_rng, d_rng = random.stream(rng, "generator"), random.stream(rng, "discriminator")
    with within("generator"):
      g = init_network(self.generator, self.generator_tx, self.ema, g_rng, z, train=True, **known)
    d, aux = self.discriminator.init(d_rng, x, labels, rows)
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
      d, aux, metrics = self.discriminator.descend(*carry, turn[1], fake, d_rng)
      return (d, aux), metrics

    start = state.discriminator, state.aux
    if self.n_critic > 1:
      (d, aux), stacked = lax.scan(critic_update, start, (jnp.arange(self.n_critic), of_d))
      d_metrics = jax.tree.map(lambda x: jnp.sum(x, axis=0), stacked)
    elif shared:  # G runs once: in a compiled loop XLA does not see that twice would be the same
      d, aux, d_metrics = self.discriminator.descend(*start, last, draw.fake, g_rng)
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

  def _generator_update(
    self, g: NetState, d: NetState, aux: Any, batch: Batch, draw: Draw, rng: Array
  ) -> tuple[NetState, Metrics]:
    labels = batch["label"]

    def loss_fn(fake: Images) -> tuple[Array, tuple[Array, dict[str, Array], Array]]:
      # D judges with this batch's statistics but keeps none; D(real) is compiled away where no loss asks for it.
      on_real, on_fake = self.discriminator.judge(d, aux, batch, fake, rng)
      losses = self.loss.generator(on_real.logits, on_fake.logits)
      terms = self.conditioning.generator_terms(on_fake, labels)
      weights = self.top_k.weights(on_fake.logits, batch["index"], g.updates, self.axis_name)
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

  def _draw(self, g: NetState, batch: Batch, rng: Array) -> Draw:
    """Images of fresh latents for ``batch``, and the way back to G's parameters."""
    z = self._latents(rng, batch["index"])

    def generate(params: Any) -> tuple[Images, Any]:
      return self._generate({"params": params, **g.mutable}, z, batch["label"], train=True)

    return Draw(*jax.vjp(generate, g.params, has_aux=True))

  def _latents(self, rng: Array, index: Array) -> Array:
    """z [B, Z] from the prior, row i from (rng, i)."""
    rows = random.row_keys(random.stream(rng, "z"), index)
    if self.z_prior == "normal":
      return random.normal(rows, (self.z_dim,))
    bound = 1.0 if self.z_prior == "uniform" else 3.0**0.5
    return random.uniform(rows, (self.z_dim,), -bound, bound)

  def _generate(self, variables: Any, z: Array, labels: Array | None, *, train: bool) -> tuple[Images, Any]:
    """G(z), and G's collections after the pass."""
    z, known = self.conditioning.generator_inputs(z, labels)
    mutable = ["batch_stats", "spectral"] if train else []
    return self.generator.apply(variables, z, train=train, mutable=mutable, **known)

  def eval_step(self, state: GanState, batch: Batch, rng: Array) -> Metrics:
    """D on held-out images and on the averaged generator's, with running BatchNorm statistics, and their `variety`.

    Those of D mix its passes over real and fake images, so its logits are shifted against training's.
    """
    labels, rows = batch["label"], random.row_keys(rng, batch["index"])
    fake = self.decode(state, self._latents(rng, batch["index"]), labels if self.conditional else None)

    real_logits, fake_logits = (
      self.discriminator.logits(state.discriminator, x, labels, rows) for x in (batch["image"], fake)
    )
    mask = batch["mask"]
    return {
      "d_loss": Mean.of(self.discriminator.loss_scale * self.loss.discriminator(real_logits, fake_logits), mask),
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
    """G(z) with running BatchNorm statistics, of averaged weights averaged ones: [N, Z] -> [N, H, W, C].

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
    return state.replace(generator=state.generator.with_collection("batch_stats", statistics))

  def visualize(self, state: GanState, batch: Batch, rng: Array) -> dict[str, Images]:
    return {}
