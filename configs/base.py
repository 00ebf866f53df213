"""What every config shares: its keys, their one line of doc and their rule, the data sets, and how variants are read.

A paper's file starts from `get_config`, adds its own sections and returns `finish(config)`, which locks it: a key
that is not there cannot be set by mistake. A choice is one section ``{"name": ..., **arguments}``, swapped whole on
the command line (``--config.loss="{'name':'saturating'}"``) and checked against what it names. This module imports
no JAX: a launcher reads a config without a device.
"""

import difflib
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict


class Field(NamedTuple):
  """One key: its doc, the rule in words, and whether a value keeps it."""

  doc: str
  rule: str = ""
  holds: Callable[[Any], bool] = lambda value: True


def _above_zero(doc: str) -> Field:
  return Field(doc, "must be above 0", lambda v: v > 0)


def _not_negative(doc: str) -> Field:
  return Field(doc, "must be 0 or more", lambda v: v >= 0 and math.isfinite(v))


def _one_of(doc: str, *choices: Any) -> Field:
  return Field(doc, f"must be one of {', '.join(map(str, choices))}", lambda v: v in choices)


FIELDS: dict[str, Field] = {
  "seed": Field(
    "seed of everything random: weights, data order, noise", "must be in [0, 2^32)", lambda v: 0 <= v < 2**32
  ),
  "family": _one_of("which code trains it", "gan", "vae", "classifier"),
  "dtype": _one_of("what networks compute in; parameters, statistics and losses stay float32", "float32", "bfloat16"),
  "data.name": Field("digits, an MNIST-like set of IDX files, any TFDS image set, gaussians8, gaussians25, blobs"),
  "data.dir": Field("where prepared files lie; empty for the usual places"),
  "data.train_split": Field('examples to train on, as in "train[:50000]"'),
  "data.validation_split": Field("examples that choose and stop"),
  "data.test_split": Field("examples that only results are read from"),
  "data.image_size": _not_negative("height and width that the networks see; 0 for the set's own"),
  "data.channels": _one_of("colour channels; 0 for the set's own", 0, 1, 3),
  "data.resize": _one_of("how an image gets that size", "pad", "bilinear"),
  "data.pixel_range": Field(
    "low and high of the floats that networks see and make",
    "must be (0.0, 1.0) or (-1.0, 1.0)",
    lambda v: tuple(v) in ((0.0, 1.0), (-1.0, 1.0)),
  ),
  "data.download": Field("whether a missing TFDS set may be downloaded and prepared (extra tfds-prepare)"),
  "data.flip": Field("mirror training images left to right, half of them, anew at every use"),
  "data.dequantize": Field("add uniform noise of one grey level, so that densities are bounded"),
  "data.binarize": _one_of(
    "dynamic: training pixels drawn anew at every use, evaluation splits drawn once", "none", "dynamic"
  ),
  "data.resident_mb": _not_negative("a set up to this many MB, all local devices together, lives on the devices"),
  "train.num_steps": _above_zero("training steps in all; of a GAN, generator updates"),
  "train.batch_size": _above_zero("images a batch, over all devices"),
  "train.steps_per_call": _above_zero("steps in one dispatch; changes speed only"),
  "train.grad_clip": _not_negative("global norm that gradients are clipped to; 0 for none"),
  "train.patience": _not_negative("evaluations without a better checkpoint.keep_best before stopping; 0 for never"),
  "checkpoint.every": _above_zero("steps between checkpoints"),
  "checkpoint.keep": _above_zero("how many of the last checkpoints are kept"),
  "checkpoint.keep_best": Field("validation metric whose best checkpoint is kept as well; empty for none"),
  "checkpoint.best_mode": _one_of("whether the least or the greatest value is the best", "min", "max"),
  "log.every": _above_zero("steps between lines of metrics.jsonl, each the mean since the last"),
  "samples.every": _not_negative("steps between pictures; 0 for none"),
  "evaluate.every": _not_negative("steps between evaluations on the validation split; 0 for none"),
  "evaluate.metrics": Field("of pictures drawn at each evaluation, {name: {setting: value}}; empty for none"),
  "evaluate.num_samples": _above_zero("how many pictures those metrics are of"),
  "evaluate.features": Field("what they see with: classifier, inception, random, pixels, or module:function"),
  "parallel.mode": _one_of("how a step is compiled for the devices", "jit", "shard_map", "pmap"),
  "parallel.sync_batch_norm": Field("BatchNorm over the global batch; False: per device in shard_map and pmap"),
  # Of a GAN.
  "z_dim": _above_zero("size of the generator's latents"),
  "z_prior": _one_of("distribution of the latents: N(0, I) or U[-1, 1)", "normal", "uniform"),
  "n_critic": _above_zero("discriminator updates a step"),
  "update_order": _one_of("whether G meets D before or after D's update", "alternating", "simultaneous"),
  "fakes": _one_of("whether G is judged on D's last latents or on fresh ones", "shared", "fresh"),
  "generator_batch_multiple": _above_zero("batches of latents in an update of G, which a batch of images then meets"),
  "discriminator_passes": _one_of("1: real and fake in one batch, BatchNorm over both; 2: one after the other", 1, 2),
  "critic_warmup.updates": _not_negative("D updates before some of G's, which skips rounds for them; 0: none"),
  "critic_warmup.first": _not_negative("the first so many updates of G are such"),
  "critic_warmup.every": _not_negative("and each so many-th; 0 for no others"),
  "weight_clip": _not_negative("D's parameters are clipped to [-c, c] after each update; 0 for not"),
  "penalties": Field("terms added to the discriminator's loss, {name: {argument: value}}; empty for none"),
  "discriminator_loss_scale": _above_zero("factor of the discriminator's loss; many codes have 0.5"),
}

# A run goes on under other values of these; of all others the difference is shown and the start refused.
MAY_CHANGE = (
  "data.dir",
  "data.download",
  "data.resident_mb",
  "train.num_steps",
  "train.steps_per_call",
  "checkpoint.every",
  "checkpoint.keep",
  "log.every",
  "samples.every",
  "evaluate.every",
)

# {family: {key: value}} for keys that runs of older versions lack; reported when used.
_EVERY_FAMILY = {
  "ema.name": "decay",
  "evaluate.metrics": {},
  "evaluate.num_samples": 10000,
  "evaluate.features": "classifier",
}
_WARMUP = {"updates": 0, "first": 0, "every": 0}
_ALL_FAKES = {"name": "constant", "value": 1.0}
MIGRATIONS: dict[str, dict[str, Any]] = {
  "gan": {
    "augment": {"name": "none"},
    "top_k": dict(_ALL_FAKES),
    "penalties": {},
    "weight_clip": 0.0,
    "critic_warmup": _WARMUP,
    "generator_batch_multiple": 1,
    **_EVERY_FAMILY,
  },
  "vae": {"conditioning": {"name": "none"}, "corruption": {"name": "none"}, **_EVERY_FAMILY},
  "classifier": _EVERY_FAMILY,
}
CONFIG_VERSION = 1  # in config.json; raised when a key changes its meaning, which no migration can tell

_MNIST_LIKE = {
  "image_size": 28,
  "channels": 1,
  "train_split": "train[:50000]",
  "validation_split": "train[50000:]",
}
DATASETS: dict[str, dict[str, Any]] = {
  "digits": {"name": "digits", "image_size": 8, "channels": 1, "validation_split": "validation"},
  "fashion_mnist": {"name": "fashion_mnist", **_MNIST_LIKE},
  "mnist": {"name": "mnist", **_MNIST_LIKE},
  "cifar10": {
    "name": "cifar10",
    "image_size": 32,
    "channels": 3,
    "train_split": "train[:45000]",
    "validation_split": "train[45000:]",
  },
  "celeba64": {
    "name": "celeb_a",
    "image_size": 64,
    "channels": 3,
    "resize": "bilinear",
    "validation_split": "validation",
  },
  "stacked_mnist": {"name": "stacked_mnist", "image_size": 28, "channels": 3, "validation_split": "validation"},
  "stacked_fashion": {
    "name": "stacked_fashion_mnist",
    "image_size": 28,
    "channels": 3,
    "validation_split": "validation",
  },
  "gaussians8": {"name": "gaussians8", "image_size": 0, "channels": 0, "validation_split": "validation"},
}
FEATURES = {  # what pictures are seen with; a classifier where one comes with the code
  "digits": "classifier",
  "fashion_mnist": "classifier",
  "gaussians8": "pixels",
  "stacked_fashion": "stacked:fashion_mnist",
  "stacked_mnist": "stacked:mnist",
}


def get_config() -> ConfigDict:
  """All shared keys with their defaults; the family's file says which data and how long."""
  return ConfigDict(
    {
      "seed": 0,
      "family": "",
      "dtype": "float32",
      "data": {
        "name": "digits",
        "dir": "",
        "train_split": "train",
        "validation_split": "validation",
        "test_split": "test",
        "image_size": 0,
        "channels": 0,
        "resize": "pad",
        "pixel_range": (0.0, 1.0),
        "download": False,
        "flip": False,
        "dequantize": False,
        "binarize": "none",
        "resident_mb": 2048,
      },
      "train": {"num_steps": 1000, "batch_size": 64, "steps_per_call": 10, "grad_clip": 0.0, "patience": 0},
      "ema": {"name": "decay", "decay": 0.0, "warmup": 0.0},
      "checkpoint": {"every": 500, "keep": 2, "keep_best": "", "best_mode": "min"},
      "log": {"every": 100},
      "samples": {"every": 500},
      "evaluate": {"every": 500, "metrics": {}, "num_samples": 10000, "features": "classifier"},
      "parallel": {"mode": "jit", "sync_batch_norm": True},
    }
  )


def use_gan(config: ConfigDict) -> None:
  """The keys of a GAN, at what most papers have: one update of each player in turn, two passes of D, nothing added."""
  config.family = "gan"
  config.z_dim = 128
  config.z_prior = "normal"
  config.n_critic = 1
  config.critic_warmup = dict(_WARMUP)
  config.weight_clip = 0.0
  config.update_order = "alternating"
  config.fakes = "fresh"
  config.generator_batch_multiple = 1
  config.discriminator_passes = 2
  config.discriminator_loss_scale = 1.0
  config.conditioning = {"name": "none"}
  config.loss = {"name": "non_saturating"}
  config.penalties = {}
  config.augment = {"name": "none"}
  config.top_k = dict(_ALL_FAKES)


def use_vae(config: ConfigDict) -> None:
  """The keys of a VAE, at what most papers have: a Gaussian posterior, N(0, I), binary pixels and the plain bound."""
  config.family = "vae"
  config.likelihood = {"name": "bernoulli"}
  config.posterior = {"name": "diagonal_gaussian"}
  config.prior = {"name": "standard_normal"}
  config.objective = {"name": "elbo"}
  config.conditioning = {"name": "none"}
  config.corruption = {"name": "none"}


def set_every(config: ConfigDict, *, log: int, rest: int) -> None:
  """Sets the intervals: of log lines, and of evaluations, pictures and checkpoints."""
  config.log.every = log
  config.evaluate.every = config.samples.every = config.checkpoint.every = rest


def variants(argument: str, datasets: Collection[str], others: Collection[str] = ()) -> tuple[str, set[str]]:
  """Reads the part after the colon of ``--config=dcgan:fashion_mnist,tiny``.

  Returns:
    The data set's name, the first of ``datasets`` where none is named, and the set of other words.

  Raises:
    ValueError: naming the word and what is allowed.
  """
  words = [word for word in (argument or "").split(",") if word]
  allowed = [*datasets, *others, "tiny"]
  for word in words:
    if word not in allowed:
      close = difflib.get_close_matches(word, allowed, n=1)
      hint = f'; did you mean "{close[0]}"?' if close else ""
      raise ValueError(f'variant "{word}" is unknown: there are {", ".join(allowed)}{hint}')
  chosen = [word for word in words if word in datasets]
  if len(chosen) > 1:
    raise ValueError(f"variants {' and '.join(chosen)} name two data sets; take one")
  return (chosen or list(datasets))[0], {word for word in words if word not in datasets}


def use_dataset(config: ConfigDict, dataset: str, *, image_size: int = 0, tiny: bool = False) -> None:
  """Points ``config.data`` at a data set; ``tiny`` at procedural blobs of its shape (digits stay digits)."""
  config.data.update(DATASETS[dataset])
  if image_size:
    config.data.image_size = image_size
  config.evaluate.features = FEATURES.get(dataset, "random")
  if dataset == "digits":
    config.data.resize = "bilinear"
  elif tiny and dataset != "gaussians8":
    blobs = "blobs:0" if dataset == "celeba64" else "blobs"  # without labels, as the set; the others have 10 classes
    config.evaluate.features = "random"
    config.data.update({"name": blobs, "train_split": "train", "validation_split": "validation"})


def shrink(config: ConfigDict) -> None:
  """The shared part of every ``tiny`` variant: 40 steps of 48, enough to see that all of it runs."""
  config.train.update({"num_steps": 40, "batch_size": 48, "steps_per_call": 5})
  set_every(config, log=10, rest=20)


def finish(config: ConfigDict) -> ConfigDict:
  """Locks the config: from here on only keys that exist can be set."""
  return config.lock()


def problems(config: Mapping[str, Any]) -> list[str]:
  """Every shared or plain key that breaks its rule, one line each: field, value, rule."""
  found = [
    f"config.{path}={_get(config, path)} {field.rule}"
    for path, field in FIELDS.items()
    if _get(config, path) is not None and not field.holds(_get(config, path))
  ]
  return found or _interval_problems(config)


def _interval_problems(config: Any) -> list[str]:
  call = config.train.steps_per_call
  found = [
    f"config.{path}={_get(config, path)} must be a multiple of config.train.steps_per_call={call}; "
    f"set --config.train.steps_per_call={math.gcd(call, _get(config, path))} or another interval"
    for path in ("train.num_steps", "log.every", "samples.every", "evaluate.every", "checkpoint.every")
    if _get(config, path) % call
  ]
  if not found and config.checkpoint.every % config.log.every:
    found.append(
      f"config.checkpoint.every={config.checkpoint.every} must be a multiple of config.log.every={config.log.every}"
    )
  if config.train.patience and not (config.checkpoint.keep_best and config.evaluate.every):
    found.append(
      f"config.train.patience={config.train.patience} needs config.checkpoint.keep_best and config.evaluate.every"
    )
  return found


def may_change(path: str) -> bool:
  """Whether a run may be resumed under another value of this key."""
  return path in MAY_CHANGE


def _get(config: Any, path: str) -> Any:
  for key in path.split("."):
    if key not in config:
      return None
    config = config[key]
  return config
