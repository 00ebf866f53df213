"""From a config to the GAN that it describes."""

from typing import Any

from common.build import build
from common.data.spec import Spec
from common.ema import build_ema
from common.errors import ConfigError
from common.optim import OPTIMIZERS, build_optimizer, with_lazy_updates
from common.schedules import SCHEDULES
from gan.augment import AUGMENTATIONS, build_augmentation
from gan.conditioning import CONDITIONING
from gan.discriminator import Discriminator
from gan.gan import GAN
from gan.legality import illegal
from gan.losses import LOSSES
from gan.networks import DISCRIMINATORS, GENERATORS
from gan.penalties import PENALTIES, build_penalties, lazy_interval
from gan.top_k import build_top_k
from gan.warmup import CriticWarmup

TABLES: dict[str, Any] = {  # {section of the config: what it chooses from}
  "generator": GENERATORS,
  "discriminator": DISCRIMINATORS,
  "loss": LOSSES,
  "penalties": PENALTIES,
  "augment": AUGMENTATIONS,
  "top_k": SCHEDULES,
  "conditioning": CONDITIONING,
  "generator_optim": OPTIMIZERS,
  "discriminator_optim": OPTIMIZERS,
}


def from_config(config: Any, spec: Spec, axis_name: str | None = None) -> GAN:
  """The GAN of ``config`` for data of ``spec``; no arrays are made.

  Raises:
    ConfigError: a section that names no known choice, or a pair that does not go together.
  """
  if found := illegal(config, spec):
    raise ConfigError(found[0])
  context = {
    "image_shape": spec.image_shape,
    "pixel_range": spec.pixel_range,
    "kind": spec.kind,
    "dtype": config.dtype,
    "bn_axis_name": axis_name if config.parallel.sync_batch_norm else None,
  }
  conditioning = build(CONDITIONING, config.conditioning, "conditioning", num_classes=spec.num_classes)
  generator = build(GENERATORS, config.generator, "generator", **context, **conditioning.generator_context())
  network = build(
    DISCRIMINATORS, config.discriminator, "discriminator", **context, **conditioning.discriminator_context()
  )
  penalties = build_penalties(config.penalties)
  discriminator_optim = config.discriminator_optim
  if config.lazy_penalties == "update":
    discriminator_optim = with_lazy_updates(discriminator_optim, "discriminator_optim", lazy_interval(penalties))
  loss = build(LOSSES, config.loss, "loss")
  discriminator = Discriminator(
    network=network,
    loss=loss,
    loss_scale=config.discriminator_loss_scale,
    penalties=penalties,
    lazy_penalties=config.lazy_penalties,
    weight_clip=config.weight_clip,
    augment=build_augmentation(config.augment, spec),
    conditioning=conditioning,
    passes=config.discriminator_passes,
    tx=build_optimizer(discriminator_optim, "discriminator_optim", config.train.grad_clip),
    axis_name=axis_name,
  )
  return GAN(
    spec=spec,
    generator=generator,
    discriminator=discriminator,
    loss=loss,
    top_k=build_top_k(config.top_k),
    conditioning=conditioning,
    generator_tx=build_optimizer(config.generator_optim, "generator_optim", config.train.grad_clip),
    ema=build_ema(config.ema),
    z_dim=config.z_dim,
    z_prior=config.z_prior,
    n_critic=config.n_critic,
    critic_warmup=CriticWarmup(
      updates=config.critic_warmup.updates, first=config.critic_warmup.first, every=config.critic_warmup.every
    ),
    generator_orthogonal=config.generator_orthogonal,
    update_order=config.update_order,
    fakes=config.fakes,
    generator_reals=config.generator_reals,
    generator_batch_multiple=config.generator_batch_multiple,
    axis_name=axis_name,
  )
