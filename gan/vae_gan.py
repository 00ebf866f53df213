"""A VAE whose reconstructions a discriminator judges: VQGAN (Esser et al. 2021, arXiv:2012.09841) and its like.

It stands here because its step is adversarial; it is the one file of gan/ that knows vae/.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from common import random
from common.build import build, build_each, within
from common.data.spec import Spec
from common.ema import NO_EMA
from common.errors import require
from common.optim import OPTIMIZERS, build_optimizer
from common.parallel import batch_mean
from common.state import NetState, Network, apply_gradients, init_network
from common.types import Array, Batch, Images, Mean, Metrics, PyTree
from gan.augment.augmentation import none
from gan.conditioning import Conditioning
from gan.content import CONTENT
from gan.from_config import check_networks, check_scores
from gan.game import Game
from gan.gan import GAN
from gan.losses import LOSSES
from gan.networks import DISCRIMINATORS
from gan.networks.interface import Latents
from vae import from_config as vae
from vae.networks import NETWORKS
from vae.vae import VAE, VaeState

EPSILON = 1e-4  # the authors' code adds it to a norm


@dataclasses.dataclass(frozen=True)
class Adaptive:
  """Weighs the adversarial term by |slope of the other terms| / |its own slope| (Esser et al. 2021, Eq. 7).

  The slopes are those by the kernel of the decoder's last layer. The weight is a number to the optimizer: no gradient
  passes through it.

  Attributes:
    weight: factor of that ratio.
    start: updates of the VAE before the term counts; D learns from the first on. The authors' D waits as long, so that
      the VAE hears it untrained.
    largest: bound of the ratio.
  """

  weight: float = 0.8
  start: int = 0
  largest: float = 1e4

  def factor(self, others: Array, adversarial: Array, updates: Array) -> Array:
    """Returns the factor of the adversarial term, [], from two slopes by the same kernel."""
    ratio = optax.tree.norm(others) / (optax.tree.norm(adversarial) + EPSILON)
    return jnp.where(updates < self.start, 0.0, self.weight * jnp.minimum(ratio, self.largest))


GAMES = {"adaptive": Adaptive}
NAMING = tuple(name for name, network in NETWORKS.items() if hasattr(network.decoder, "last_layer"))
TABLES: dict[str, Any] = {  # {section of the config: its choices}
  **vae.TABLES,
  "game": GAMES,
  "discriminator": DISCRIMINATORS,
  "loss": LOSSES,
  "content": CONTENT,
  "discriminator_optim": OPTIMIZERS,
}


class VaeGanState(VaeState):
  """The VAE's network, and the discriminator."""

  discriminator: NetState


@dataclasses.dataclass(frozen=True)
class VaeGan(VAE):
  """A VAE to everything that uses one; its loss has two more parts, which judge E[x|z] for the z of the step.

  Attributes:
    judges: D with its loss, and the content terms; its generator is the VAE's network.
    balance: the weight of the adversarial term.
  """

  judges: GAN
  balance: Adaptive

  def init(self, rng: Array, batch: Batch) -> VaeGanState:
    """Returns fresh networks; ``batch`` as in `VAE.init`."""
    of_vae, keys = super().init(rng, batch), random.row_keys(rng, batch["index"])
    with within("discriminator"):
      network, rng = self.judges.discriminator, random.stream(rng, "discriminator")
      d = init_network(*network, rng, batch["image"], train=True, keys=keys)
    return VaeGanState(step=of_vae.step, net=of_vae.net, discriminator=d)

  def train_step(self, state: VaeGanState, batch: Batch, rng: Array) -> tuple[VaeGanState, Metrics]:
    """Updates D, then the VAE against it, on the same reconstructions.

    In the authors' code the VAE moves first, and D sees what it makes then: the same order but for the first update.
    """
    net, one = state.net, jnp.ones(())

    def reconstruct(params: PyTree) -> tuple[tuple[Array, Images], Any]:
      loss, aux = self.loss(params, net, batch, rng)
      return (loss, self._mean({"params": params, **net.mutable}, aux[1].params[0])), aux

    (_, fake), pullback, (losses, terms, mutable) = jax.vjp(reconstruct, net.params, has_aux=True)
    d, d_metrics = self._updated_discriminator(state.discriminator, batch, fake, rng)
    adversarial, g_metrics = self._slope(fake, d, batch, rng, adversarial=True)
    content, content_metrics = self._slope(fake, d, batch, rng, adversarial=False)

    def by_last_layer(*slopes: Array) -> Array:
      # The compiler drops the layers before, whose slopes are not used.
      kernel = pullback(slopes)[0]["decoder"][self.network.decoder.last_layer]["kernel"]
      return batch_mean(kernel, self.axis_name)

    others, own = by_last_layer(one, content), by_last_layer(jnp.zeros(()), adversarial)
    factor = self.balance.factor(others, own, net.updates)
    (grads,) = pullback((one, content + factor * adversarial))
    net, norms = apply_gradients(net, grads, self.tx, self.ema, mutable=mutable, axis_name=self.axis_name)
    metrics = {**self.figures(losses, terms, state.net.updates), **norms, **d_metrics, **g_metrics, **content_metrics}
    metrics["adversarial_weight"] = Mean.of(jnp.full_like(losses, factor))
    return VaeGanState(step=state.step + 1, net=net, discriminator=d), metrics

  def _mean(self, variables: PyTree, params: Array) -> Images:
    return self.network.apply(variables, params, method=lambda model, params: model.likelihood.mean(params))

  def _updated_discriminator(self, d: NetState, batch: Batch, fake: Images, rng: Array) -> tuple[NetState, Metrics]:
    _, tx, ema = self.judges.discriminator
    grads, (mutable, metrics) = jax.grad(self.judges.d_loss, has_aux=True)(d.params, d, batch, fake, rng)
    d, norms = apply_gradients(d, grads, tx, ema, mutable=mutable, axis_name=self.axis_name)
    return d, {**metrics, **{f"d_{name}": norm for name, norm in norms.items()}}

  def _slope(self, fake: Images, d: NetState, batch: Batch, rng: Array, *, adversarial: bool) -> tuple[Images, Metrics]:
    """Returns the slope of the adversarial term, or of the content terms, by the reconstructions; and their means."""

    def part(fake: Images) -> tuple[Array, Metrics]:
      terms = self.judges.g_terms(fake, d, batch, rng)
      chosen = {name: term for name, term in terms.items() if (name == "loss") == adversarial}
      metrics = {f"g_{name}": Mean.of(term) for name, term in chosen.items()}
      return jnp.mean(sum(chosen.values(), start=jnp.zeros(()))), metrics

    return jax.grad(part, has_aux=True)(fake)


def from_config(config: Any, spec: Spec, axis_name: str | None = None) -> VaeGan:
  """Returns the VAE of ``config`` with its discriminator, for data of ``spec``; no arrays are made.

  Raises:
    ConfigError: a section names an unknown choice, or two sections do not go together.
  """
  of_vae = vae.from_config(config, spec, axis_name)
  _check(config, spec, of_vae)
  context = {
    "image_shape": spec.image_shape,
    "pixel_range": tuple(spec.pixel_range),
    "dataset": config.data.name,
    "dtype": config.dtype,
    "bn_axis_name": axis_name if config.parallel.sync_batch_norm else None,
    **Conditioning().context(),
  }
  discriminator = build(DISCRIMINATORS, config.discriminator, "discriminator", kind=spec.kind, **context)
  check_networks({"discriminator": discriminator}, config, spec)
  optim = build_optimizer(config.discriminator_optim, "discriminator_optim", config.train.grad_clip)
  judges = GAN(
    generator=Network(of_vae.network, of_vae.tx, of_vae.ema),
    discriminator=Network(discriminator, optim, NO_EMA),
    game=Game(),
    loss=build(LOSSES, config.loss, "loss"),
    penalties={},
    content=build_each(CONTENT, config.content, "content", **context),
    augment=none(),
    conditioning=Conditioning(),
    latents=Latents(0, "normal"),
    axis_name=axis_name,
  )
  fields = {field.name: getattr(of_vae, field.name) for field in dataclasses.fields(VAE)}
  return VaeGan(**fields, judges=judges, balance=build(GAMES, config.game, "game"))


def _check(config: Any, spec: Spec, of_vae: VAE) -> None:
  """Raises ConfigError for data or a VAE whose reconstructions cannot be judged."""
  check_scores(config)
  why, way_out = "it is for images, and these data are points", "a data set of images, as --config.data.name=digits"
  require(spec.kind == "images", config, "discriminator.name", "data.name", why, way_out)
  why = "D judges one reconstruction of each image, and this objective draws several"
  require(of_vae.objective.draws == 1, config, "objective.name", "game.name", why, vae.ELBO)
  why = "the adversarial term is weighed at the kernel of the decoder's last layer, which this network does not name"
  way_out = " or ".join(f"--config.model=\"{{'name': '{name}', 'z_dim': {config.model.z_dim}}}\"" for name in NAMING)
  require(config.model.name in NAMING, config, "model.name", "game.name", why, way_out)
