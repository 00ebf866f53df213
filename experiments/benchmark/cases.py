"""What is compared: a config of this project with overrides, and the published PyTorch code of the same form."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from common.errors import ConfigError
from configs import schema
from experiments.command_line.flags import find_config, load_config


@dataclasses.dataclass(frozen=True)
class Case:
  """One model on both sides.

  Attributes:
    config: as --config takes it.
    overrides: dotted path -> value; steps_per_call is such that a call lasts a second or two on two cores.
    mirrors: the PyTorch code whose form the other side has.
    tiny: further overrides for --smoke and the tests.
  """

  config: str
  overrides: Mapping[str, Any]
  mirrors: str
  tiny: Mapping[str, Any]


_DCGAN = {"fakes": "shared", "z_prior": "normal"}  # G runs once a step, as there
_TINY_NETWORKS = {"generator.width": 8, "discriminator.width": 8}
_TINY = {**_TINY_NETWORKS, "data.image_size": 16}
_SNGAN_ADAM = {"name": "adam", "learning_rate": 2e-4, "b1": 0.0, "b2": 0.9, "eps": 1e-8}  # no decay
_DCGAN_EXAMPLE = "pytorch/examples dcgan"

CASES: dict[str, Case] = {
  "vae_mlp": Case(
    config="vae:fashion_mnist,flax",
    overrides={"model.width": 400, "data.binarize": "none"},
    mirrors="pytorch/examples vae: 784-400-20, Bernoulli on grey values",
    tiny={"model.width": 32},
  ),
  "gated_vae": Case(
    config="vae:fashion_mnist,gated",
    # With the config's warm-up the rate would not be in the gradients that are compared.
    overrides={"objective": {"name": "elbo", "beta": 1.0}},
    mirrors="jmtomczak/vae_vampprior, standard prior: gated 300-300, z of 40",
    tiny={"model.width": 24, "model.z_dim": 8},
  ),
  "conv_vae": Case(
    config="vae:fashion_mnist,conv",
    overrides={
      "model.channels": (128, 256, 512, 1024),
      "model.batch_norm": True,
      "data.image_size": 32,
      "data.binarize": "none",
      "train.batch_size": 64,
      "train.steps_per_call": 2,
    },
    mirrors="the encoder and decoder of DCGAN as a VAE, as in AntixK/PyTorch-VAE",
    tiny={"model.channels": (8, 8), "data.image_size": 16},
  ),
  "mlp_gan": Case(
    config="gan:fashion_mnist,tapered",
    overrides={},
    mirrors="eriklindernoren/PyTorch-GAN gan",
    tiny={"generator.widths": (16, 32), "discriminator.widths": (32, 16)},
  ),
  "dcgan_32": Case("dcgan:fashion_mnist", {**_DCGAN, "train.steps_per_call": 5}, _DCGAN_EXAMPLE, _TINY),
  "dcgan_32_b128": Case(
    "dcgan:fashion_mnist",
    {**_DCGAN, "train.batch_size": 128, "train.steps_per_call": 2},
    f"{_DCGAN_EXAMPLE}, batch 128",
    _TINY,
  ),
  "dcgan_32_b512": Case(
    "dcgan:fashion_mnist",
    {**_DCGAN, "train.batch_size": 512, "train.steps_per_call": 1},
    f"{_DCGAN_EXAMPLE}, batch 512",
    _TINY,
  ),
  "dcgan_64": Case(
    "dcgan:fashion_mnist",
    {**_DCGAN, "data.image_size": 64, "data.resize": "crop", "train.steps_per_call": 1},
    f"{_DCGAN_EXAMPLE} at its own 64x64",
    {**_TINY_NETWORKS, "data.image_size": 32},
  ),
  "wgan_gp": Case(
    config="wgan_gp:fashion_mnist",
    overrides={"train.steps_per_call": 1},
    mirrors="eriklindernoren/PyTorch-GAN wgan_gp with convolutions, as in igul222/improved_wgan_training",
    tiny=_TINY,
  ),
  "sngan": Case(
    config="sngan:fashion_mnist",
    overrides={
      "generator_optim": _SNGAN_ADAM,
      "discriminator_optim": _SNGAN_ADAM,
      "generator_batch_multiple": 1,
      "train.steps_per_call": 1,
    },
    mirrors="kwotsin/mimicry sngan_32 with width 64",
    tiny=_TINY,
  ),
}


def load(config: str, overrides: Mapping[str, Any]) -> ConfigDict:
  """The locked config of ``name:variant`` with overrides {dotted path: value}; sections are swapped whole.

  Raises:
    ConfigError: an unknown config or key, or values that break a rule.
  """
  name, _, variant = config.partition(":")
  loaded = load_config(find_config(name), variant)
  with loaded.unlocked():
    for path, value in overrides.items():
      *sections, key = path.split(".")
      section = loaded
      for part in sections:
        section = section[part]
      if key not in section:
        raise ConfigError(f"config.{path} is unknown in {config}: there are {', '.join(section)}")
      section[key] = ConfigDict(value) if isinstance(value, Mapping) else value
  if found := schema.problems(loaded):
    raise ConfigError(f"{config}: {found[0]}")
  return loaded.lock()


def all_overrides(name: str, *, tiny: bool = False, **changes: Any) -> dict[str, Any]:
  """{dotted path: value} of case ``name``, its tiny form and ``changes``, in whose names __ stands for a dot.

  ``tiny`` shrinks networks, images and batch and takes procedural images, so that a step costs next to nothing.
  """
  case = CASES[name]
  overrides = {**case.overrides, **(case.tiny if tiny else {})}
  if tiny:
    overrides |= {**PROCEDURAL, "train.batch_size": 8, "train.steps_per_call": 1}
  return {**overrides, **{path.replace("__", "."): value for path, value in changes.items()}}


def resolve(name: str, *, tiny: bool = False, **changes: Any) -> ConfigDict:
  """The locked config of case ``name`` with `all_overrides`."""
  return load(CASES[name].config, all_overrides(name, tiny=tiny, **changes))


# What stands in for a set that is not installed: images of the same shape, so that the speed is the same.
PROCEDURAL = {"data.name": "blobs", "data.train_split": "train", "data.validation_split": "validation"}
