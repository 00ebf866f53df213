"""Builds the GAN that a config describes."""

from collections.abc import Mapping
from typing import Any

from common.build import build
from common.data.spec import Spec
from common.ema import NO_EMA, build_ema
from common.errors import ConfigError
from common.optim import OPTIMIZERS, build_optimizer
from common.state import Network
from gan.augment.augmentation import AUGMENTATIONS
from gan.conditioning import CONDITIONING, Conditioning
from gan.game import GAMES
from gan.gan import GAN
from gan.losses import LOSSES
from gan.networks import DISCRIMINATORS, GENERATORS
from gan.networks.interface import Latents
from gan.penalties import PENALTIES, build_penalties

PAIRED = ("psnr", "ssim", "ms_ssim")  # scores that fall where an adversarial loss improves an image
TABLES: dict[str, Any] = {  # {section of the config: its choices}
  "game": GAMES,
  "generator": GENERATORS,
  "discriminator": DISCRIMINATORS,
  "loss": LOSSES,
  "penalties": PENALTIES,
  "augment": AUGMENTATIONS,
  "conditioning": CONDITIONING,
  "generator_optim": OPTIMIZERS,
  "discriminator_optim": OPTIMIZERS,
}


def from_config(config: Any, spec: Spec, axis_name: str | None = None) -> GAN:
  """Returns the GAN of ``config`` for data of ``spec``; no arrays are made.

  Raises:
    ConfigError: a section names an unknown choice, or two sections do not go together.
  """

  def section(name: str, **context: Any) -> Any:
    return build(TABLES[name], config[name], name, **context)

  conditioning = section("conditioning", num_classes=spec.num_classes)
  context = {
    **conditioning.context(),
    "image_shape": spec.image_shape,
    "pixel_range": tuple(spec.pixel_range),
    "kind": spec.kind,
    "dtype": config.dtype,
    "bn_axis_name": axis_name if config.parallel.sync_batch_norm else None,
  }
  generator, discriminator = section("generator", **context), section("discriminator", **context)
  penalties = build_penalties(config.penalties)
  if config.checkpoint.keep_best in PAIRED:
    raise _clash(
      f'checkpoint.keep_best="{config.checkpoint.keep_best}"',
      f'loss.name="{config.loss.name}"',
      "it is best for the blurred mean of all likely images, which an adversarial loss is there to avoid",
      "--config.checkpoint.keep_best=frechet or --config.checkpoint.keep_best=",
    )
  _check_data(config, spec)
  _check_networks({"generator": generator, "discriminator": discriminator}, config, spec)
  _check_labels(conditioning, config)
  if penalties and getattr(discriminator, "batch_norm", False):
    raise _clash(
      f"penalties={{{', '.join(repr(name) + ': ...' for name in penalties)}}}",
      "discriminator.batch_norm=True",
      "under BatchNorm D(x) depends on the whole batch and has no gradient of one image",
      "--config.discriminator.batch_norm=False or --config.penalties={}",
    )
  generator_optim, discriminator_optim = (
    build_optimizer(config[name], name, config.train.grad_clip) for name in ("generator_optim", "discriminator_optim")
  )
  return GAN(
    generator=Network(generator, generator_optim, build_ema(config.ema)),
    discriminator=Network(discriminator, discriminator_optim, NO_EMA),
    game=section("game"),
    loss=section("loss"),
    penalties=penalties,
    augment=section("augment", pixel_range=context["pixel_range"]),
    conditioning=conditioning,
    latents=Latents(config.z_dim, config.z_prior),
    axis_name=axis_name,
  )


def _check_data(config: Any, spec: Spec) -> None:
  """Raises ConfigError if labels or an augmentation do not suit the data."""
  data, (height, width, _) = f'data.name="{config.data.name}"', spec.image_shape
  augment, conditioning = config.augment.name, config.conditioning.name
  if conditioning != "none" and not spec.num_classes:
    why = "it needs labels, and this data set has none"
    raise _clash(f'conditioning.name="{conditioning}"', data, why, _typed("conditioning", name="none"))
  if augment != "none" and (spec.kind != "images" or min(height, width) < 2):
    size = f"data.image_size={height}x{width}" if spec.kind == "images" else data
    raise _clash(
      f'augment.name="{augment}"', size, "it is for images of two lines or more", _typed("augment", name="none")
    )


def _check_networks(networks: Mapping[str, Any], config: Any, spec: Spec) -> None:
  """Raises ConfigError if a network is not made for the data."""
  height, width = spec.image_shape[:2]
  for player, network in networks.items():
    name, sizes = f'{player}.name="{config[player].name}"', getattr(network, "sizes", None)
    if sizes and spec.kind != "images":
      ways = " or ".join(_typed(player, name=other) for other, made in GENERATORS.items() if not hasattr(made, "sizes"))
      raise _clash(name, f'data.name="{config.data.name}"', "it is for images, and these data are points", ways)
    if sizes and not sizes.fits(height, width):
      size = f"data.image_size={height if height == width else f'{height}x{width}'}"
      ways = f"{sizes.way_out(height, width)}, or {_typed(player, name='mlp')}"
      raise _clash(name, size, f"it is for {sizes.words}", ways)


def _check_labels(conditioning: Conditioning, config: Any) -> None:
  """Raises ConfigError if the generator does not take labels in their form."""
  form, takes = conditioning.generator, {name: getattr(made, "takes_given", "") for name, made in GENERATORS.items()}
  if form not in ("none", "concat", takes[config.generator.name]):
    takers = ", ".join(name for name, taken in takes.items() if taken == form)
    raise _clash(
      f'conditioning.generator="{conditioning.generator}"',
      f'generator.name="{config.generator.name}"',
      f"this generator {'has no BatchNorm' if form == 'class_batch_norm' else 'embeds no labels'}",
      f"--config.conditioning.generator=concat or one of the generators {takers}",
    )


def _clash(first: str, second: str, why: str, way_out: str) -> ConfigError:
  return ConfigError(f"config.{first} does not go with config.{second}: {why}; take {way_out}")


def _typed(field: str, **section: Any) -> str:
  """Returns a section as it is typed in a shell, such as --config.augment="{'name': 'none'}"."""
  return f'--config.{field}="{section}"'
