"""Builds the GAN that a config describes."""

from collections.abc import Mapping
from typing import Any

from common.build import build, build_each, parameters
from common.data.spec import Spec
from common.ema import NO_EMA, build_ema
from common.errors import ConfigError
from common.optim import OPTIMIZERS, build_optimizer
from common.restoration.networks import NETWORKS, build_network
from common.state import Network
from gan.augment.augmentation import AUGMENTATIONS
from gan.conditioning import CONDITIONING, Conditioning
from gan.content import CONTENT
from gan.game import GAMES
from gan.gan import GAN
from gan.losses import LOSSES
from gan.networks import DISCRIMINATORS, GENERATORS
from gan.networks.interface import Latents
from gan.penalties import PENALTIES

PAIRED = ("psnr", "ssim", "ms_ssim")  # scores that fall where an adversarial loss improves an image
TABLES: dict[str, Any] = {  # {section of the config: its choices}
  "game": GAMES,
  "generator": {**GENERATORS, **NETWORKS},
  "discriminator": DISCRIMINATORS,
  "loss": LOSSES,
  "penalties": PENALTIES,
  "content": CONTENT,
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

  conditioning = section("conditioning", num_classes=spec.num_classes, vocabulary=spec.vocabulary)
  context = {
    **conditioning.context(),
    "image_shape": spec.image_shape,
    "pixel_range": tuple(spec.pixel_range),
    "kind": spec.kind,
    "dtype": config.dtype,
    "bn_axis_name": axis_name if config.parallel.sync_batch_norm else None,
  }
  _check_seen(conditioning, config, spec)
  if conditioning.generator == "seen":
    generator = build_network(config.generator, "generator", spec, **context)
  else:
    generator = section("generator", **context)
  discriminator = section("discriminator", **context)
  penalties = build_each(PENALTIES, config.penalties, "penalties")
  check_scores(config)
  _check_data(conditioning, config, spec)
  check_networks({"generator": generator, "discriminator": discriminator}, config, spec)
  _check_labels(conditioning, config)
  if penalties and getattr(discriminator, "batch_norm", False):
    raise _clash(
      f"penalties={{{', '.join(repr(name) + ': ...' for name in penalties)}}}",
      "discriminator.batch_norm=True",
      "under BatchNorm D(x) depends on the whole batch and has no gradient of one image",
      "--config.discriminator.batch_norm=False or --config.penalties={}",
    )
  _check_captions(conditioning, config, spec)
  generator_optim, discriminator_optim = (
    build_optimizer(config[name], name, config.train.grad_clip) for name in ("generator_optim", "discriminator_optim")
  )
  return GAN(
    generator=Network(conditioning.reading(generator, of_z=True), generator_optim, build_ema(config.ema)),
    discriminator=Network(conditioning.reading(discriminator, of_z=False), discriminator_optim, NO_EMA),
    game=section("game"),
    loss=section("loss"),
    penalties=penalties,
    content=build_each(CONTENT, config.content, "content", dataset=config.data.name, **context),
    augment=section("augment", pixel_range=context["pixel_range"]),
    conditioning=conditioning,
    latents=Latents(config.z_dim, config.z_prior),
    axis_name=axis_name,
  )


def check_scores(config: Any) -> None:
  """Raises ConfigError if a score would choose what an adversarial loss avoids, or measure what G was trained on."""
  if config.checkpoint.keep_best in PAIRED:
    raise _clash(
      f'checkpoint.keep_best="{config.checkpoint.keep_best}"',
      f'loss.name="{config.loss.name}"',
      "it is best for the blurred mean of all likely images, which an adversarial loss is there to avoid",
      "--config.checkpoint.keep_best=frechet or --config.checkpoint.keep_best=",
    )
  features = config.evaluate.features
  if "perceptual" in config.content and config.content.perceptual.features == features:
    raise _clash(
      f'content.perceptual.features="{features}"',
      f'evaluate.features="{features}"',
      "a score would measure what G was trained on",
      f"--config.content.perceptual.features=random:{2 if features == 'random:1' else 1}",
    )


def _check_data(conditioning: Conditioning, config: Any, spec: Spec) -> None:
  """Raises ConfigError if labels or an augmentation do not suit the data."""
  data, (height, width, _) = f'data.name="{config.data.name}"', spec.image_shape
  augment = config.augment.name
  if "label" in conditioning.rows and not spec.num_classes:
    why = "it needs labels, and this data set has none"
    raise _clash(f'conditioning.name="{config.conditioning.name}"', data, why, _typed("conditioning", name="none"))
  if augment != "none" and (spec.kind != "images" or min(height, width) < 2):
    size = f"data.image_size={height}x{width}" if spec.kind == "images" else data
    raise _clash(
      f'augment.name="{augment}"', size, "it is for images of two lines or more", _typed("augment", name="none")
    )


def _check_captions(conditioning: Conditioning, config: Any, spec: Spec) -> None:
  """Raises ConfigError if captions are missing."""
  if "text" in conditioning.rows and not spec.vocabulary:
    why = (
      f"it needs captions as rows of words, which {_typed('data.text', name='words')} reads from a set that has some"
    )
    text = f'data.text.name="{config.data.text.name}"'
    raise _clash('conditioning.name="text"', text, why, _typed("conditioning", name="none"))
  if "matching_aware" in config.penalties and "text" not in conditioning.rows:
    why = "it is the slope by a caption, and D is given none"
    name = f'conditioning.name="{config.conditioning.name}"'
    raise _clash("penalties={'matching_aware': ...}", name, why, "--config.penalties={}")


def check_networks(networks: Mapping[str, Any], config: Any, spec: Spec) -> None:
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


def _check_seen(conditioning: Conditioning, config: Any, spec: Spec) -> None:
  """Raises ConfigError unless a generator that maps images to images, and only that one, is given what is seen."""
  name, player = f'conditioning.name="{config.conditioning.name}"', f'generator.name="{config.generator.name}"'
  restores = conditioning.generator == "seen"
  if not restores:
    if config.generator.name in NETWORKS:
      raise _clash(name, player, "this generator maps what is seen of an image", _typed("conditioning", name="seen"))
    if config.content:
      terms = f"content={{{', '.join(f'{term!r}: ...' for term in config.content)}}}"
      why = "a picture that is not given what is seen of an image need not be that image"
      raise _clash(terms, name, why, "--config.content={}")
    if not config.z_dim:
      raise _clash("z_dim=0", player, "this generator maps z", "--config.z_dim=128")
    return
  if config.generator.name in GENERATORS:
    ways = " or ".join(_typed("generator", name=network) for network in ("edsr", "unet"))
    raise _clash(name, player, "this generator maps z alone", ways)
  channels = next((row.shape[2] for row in spec.rows if row.name == "seen"), spec.image_shape[2])
  if config.z_dim and channels < spec.image_shape[2]:
    why = f"z stands behind the colors of the image, of which {channels} of {spec.image_shape[2]} are seen"
    raise _clash(f"z_dim={config.z_dim}", "data.degradation", why, "--config.z_dim=0")
  if conditioning.discriminator == "seen" and config.augment.name != "none":
    why = "an augmented image does not go with what is seen beside it"
    ways = f"{_typed('augment', name='none')} or --config.conditioning.pair=False"
    raise _clash(f'augment.name="{config.augment.name}"', "conditioning.pair=True", why, ways)


def _check_labels(conditioning: Conditioning, config: Any) -> None:
  """Raises ConfigError if a network does not take labels in their form."""
  joins = {name for name, made in DISCRIMINATORS.items() if getattr(made, "takes_given", "") == "joint"}
  if conditioning.discriminator == "joint" and config.discriminator.name not in joins:
    raise _clash(
      'conditioning.discriminator="joint"',
      f'discriminator.name="{config.discriminator.name}"',
      "this discriminator joins no values to its last map",
      f"--config.conditioning.discriminator=projection or one of the discriminators {', '.join(sorted(joins))}",
    )
  if conditioning.context()["label_head"].form != "none" and not _has_label_head(config.discriminator.name):
    takers = ", ".join(filter(_has_label_head, DISCRIMINATORS))
    raise _clash(
      f'conditioning.name="{config.conditioning.name}"',
      f'discriminator.name="{config.discriminator.name}"',
      "this discriminator has no layer for labels after its last one",
      f"{_typed('conditioning', name='concat')} or one of the discriminators {takers}",
    )
  if conditioning.generator == "seen":
    return
  form, takes = conditioning.generator, {name: getattr(made, "takes_given", "") for name, made in GENERATORS.items()}
  if form not in ("none", "concat", takes[config.generator.name]):
    takers = ", ".join(name for name, taken in takes.items() if taken == form)
    raise _clash(
      f'conditioning.generator="{conditioning.generator}"',
      f'generator.name="{config.generator.name}"',
      f"this generator does not take given values in the form {form}",
      f"--config.conditioning.generator=concat or one of the generators {takers}",
    )


def _has_label_head(discriminator: str) -> bool:
  return "label_head" in parameters(DISCRIMINATORS[discriminator])


def _clash(first: str, second: str, why: str, way_out: str) -> ConfigError:
  return ConfigError(f"config.{first} does not go with config.{second}: {why}; take {way_out}")


def _typed(field: str, **section: Any) -> str:
  """Returns a section as it is typed in a shell, such as --config.augment="{'name': 'none'}"."""
  return f'--config.{field}="{section}"'
