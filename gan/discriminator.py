"""The discriminator in training: what it sees of real and generated images, and one update of it."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from common import random
from common.build import within
from common.ema import NO_EMA
from common.state import NetState, apply_gradients, init_network
from common.types import Array, Batch, Images, Mean, Metrics
from gan.augment.policy import Augmentation
from gan.conditioning import Conditioning
from gan.losses import AdversarialLoss
from gan.networks.output import DiscriminatorOutput
from gan.penalties import lazy_interval, penalize
from gan.penalties.seen import Penalty, Seen


class Turn(NamedTuple):
  """What D is shown at once: a batch, G's images for it, their keys; and D's updates and ``aux`` before that."""

  batch: Batch
  fake: Images
  rng: Array
  updates: Array
  aux: Any


@dataclasses.dataclass(frozen=True)
class Discriminator:
  """A network, what images go through before it, and what it is trained by; fields as the config's keys."""

  network: nn.Module
  loss: AdversarialLoss
  loss_scale: float
  penalties: Mapping[str, Penalty]
  lazy_penalties: str
  weight_clip: float
  augment: Augmentation
  conditioning: Conditioning
  passes: int
  tx: optax.GradientTransformation
  axis_name: str | None

  def init(self, rng: Array, x: Images, labels: Array, rows: Array) -> tuple[NetState, dict[str, Any]]:
    """A fresh network, and the running state of penalties and of "augment"."""
    x, known = self.conditioning.discriminator_inputs(x, labels)
    with within("discriminator"):
      d = init_network(self.network, self.tx, NO_EMA, rng, x, train=True, rows=rows, **known)
    return d, {name: penalty.init() for name, penalty in self.penalties.items()} | {"augment": self.augment.init()}

  def descend(
    self, d: NetState, aux: dict[str, Any], batch: Batch, fake: Images, rng: Array
  ) -> tuple[NetState, dict[str, Any], Metrics]:
    """One step of its optimizer; a second where lazy penalties have one of their own (`_lazy_update`)."""
    turn = Turn(batch, fake, rng, d.updates, aux)
    lazy = {name: penalty for name, penalty in self.penalties.items() if penalty.every > 1}
    apart = lazy if self.lazy_penalties == "update" else {}
    within = {name: penalty for name, penalty in self.penalties.items() if name not in apart}

    def loss_fn(params: Any) -> tuple[Array, Any]:
      variables = {"params": params, **d.mutable}
      on_real, on_fake, mutable = self._apply(variables, turn, update=True)
      losses = self.loss_scale * self.loss.discriminator(on_real.logits, on_fake.logits)
      penalties, new_aux = self._penalize(within, {**variables, **mutable}, turn, on_real.logits, on_fake.logits)
      penalties |= self.conditioning.discriminator_terms(on_real, on_fake, batch["label"])
      total = jnp.mean(sum(penalties.values(), start=losses))
      return total, (losses, penalties, on_real.logits, on_fake.logits, mutable, new_aux)

    grads, (losses, penalties, on_real, on_fake, mutable, new_aux) = jax.grad(loss_fn, has_aux=True)(d.params)
    p = self.augment.probability(aux["augment"], d.updates)
    above = on_real - (self.loss.boundary or 0.0)
    new_aux["augment"] = self.augment.adapt(aux["augment"], above, d.updates, self.axis_name)
    d, norms = apply_gradients(d, grads, self.tx, NO_EMA, mutable=mutable, axis_name=self.axis_name)
    if apart:
      nothing = {name: jnp.zeros_like(losses) for name in apart}, {name: aux[name] for name in apart}
      due = turn.updates % lazy_interval(apart) == 0
      d, values, state = lax.cond(due, lambda d: self._lazy_update(d, apart, turn), lambda d: (d, *nothing), d)
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

  def judge(
    self, d: NetState, aux: dict[str, Any], batch: Batch, fake: Images, rng: Array
  ) -> tuple[DiscriminatorOutput, DiscriminatorOutput]:
    """On a batch's real images and on ``fake``, as its own update sees them; none of its collections moves."""
    return self._apply(d.variables(), Turn(batch, fake, rng, d.updates, aux), update=False)[:2]

  def logits(self, d: NetState, x: Images, labels: Array, rows: Array) -> Array:
    """On images as they are, with running BatchNorm statistics: [B, H, W, C] -> [B]."""
    x, known = self.conditioning.discriminator_inputs(x, labels)
    return self.network.apply(d.variables(), x, train=False, rows=rows, **known).logits

  def _lazy_update(
    self, d: NetState, penalties: Mapping[str, Penalty], turn: Turn
  ) -> tuple[NetState, dict[str, Array], Any]:
    """An update for lazy penalties alone, after that for the loss (Karras et al. 2020, App. B)."""

    def loss_fn(params: Any) -> tuple[Array, Any]:
      variables = {"params": params, **d.mutable}
      on_real, on_fake, _ = self._apply(variables, turn, update=False)  # compiled away where no penalty reads logits
      values, state = self._penalize(penalties, variables, turn, on_real.logits, on_fake.logits)
      return jnp.mean(sum(values.values(), start=jnp.zeros_like(on_real.logits))), (values, state)

    grads, (values, state) = jax.grad(loss_fn, has_aux=True)(d.params)
    moved, _ = apply_gradients(d, grads, self.tx, NO_EMA, axis_name=self.axis_name)
    return moved.replace(updates=d.updates), values, state  # what counts D's updates counts those for the loss

  def _penalize(
    self, penalties: Mapping[str, Penalty], variables: Any, turn: Turn, on_real: Array, on_fake: Array
  ) -> tuple[dict[str, Array], Any]:
    """These penalties at ``variables``, {name: [B]}, and their running state."""
    labels, index = turn.batch["label"], turn.batch["index"]

    def see(name: str) -> Seen:
      rows = random.row_keys(random.stream(turn.rng, name), index)
      dropout = random.row_keys(random.stream(turn.rng, f"dropout {name}"), index)

      def apply_d(x: Images, half: str = "real") -> Array:
        x, known = self.conditioning.discriminator_inputs(self._augmented(x, half, turn), labels)
        return self.network.apply(variables, x, train=True, rows=dropout, **known).logits

      images = turn.batch["image"], turn.fake
      return Seen(apply_d, variables["params"], *images, on_real, on_fake, turn.updates, rows, self.axis_name)

    return penalize(penalties, see, turn.updates, turn.aux)

  def _augmented(self, x: Images, half: str, turn: Turn) -> Images:
    """Images of a half, "real" or "fake", as D gets them; a row of one does not tell of the other's."""
    rows = random.row_keys(random.stream(turn.rng, f"augment {half}"), turn.batch["index"])
    return self.augment.apply(x, rows, self.augment.probability(turn.aux["augment"], turn.updates))

  def _apply(self, variables: Any, turn: Turn, *, update: bool) -> tuple[DiscriminatorOutput, DiscriminatorOutput, Any]:
    """The network on both halves in training mode, and its collections after that, which move with ``update`` only.

    In one pass BatchNorm sees real and fake together; in two, each by itself, real first. Spectral vectors move once,
    in the one pass or in that over real images.
    """
    labels, index = turn.batch["label"], turn.batch["index"]
    real, fake = self._augmented(turn.batch["image"], "real", turn), self._augmented(turn.fake, "fake", turn)
    moving = [["batch_stats", "spectral"], ["batch_stats"]] if update else [[], []]
    rows = [random.row_keys(random.stream(turn.rng, f"dropout {half}"), index) for half in ("real", "fake")]

    def apply(
      variables: Any, x: Images, labels: Array, rows: Array, mutable: list[str]
    ) -> tuple[DiscriminatorOutput, Any]:
      x, known = self.conditioning.discriminator_inputs(x, labels)
      return self.network.apply(variables, x, train=True, rows=rows, mutable=mutable, **known)

    # Where no update asks for D(real) and no BatchNorm mixes the halves, one pass would only be more work.
    if self.passes == 1 and (update or "batch_stats" in variables):
      inputs = jnp.concatenate([real, fake]), jnp.concatenate([labels, labels])
      both, mutable = apply(variables, *inputs, jnp.concatenate(rows), moving[0])
      half = real.shape[0]
      on_real, on_fake = jax.tree.map(lambda x: x[:half], both), jax.tree.map(lambda x: x[half:], both)
      return on_real, on_fake, mutable
    on_real, after_real = apply(variables, real, labels, rows[0], moving[0])
    on_fake, after_fake = apply({**variables, **after_real}, fake, labels, rows[1], moving[1])
    return on_real, on_fake, {**after_real, **after_fake}
