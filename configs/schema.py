"""The one table of a config's shared keys: default, meaning, rule, and whether a run may change them.

A paper's file starts from `get_config`, adds its own sections and returns the config locked, so that a key that does
not exist cannot be set by mistake. A choice is one section ``{"name": ..., **arguments}``; it is checked against the
signature of what it names, not here. This module imports no JAX: a launcher reads a config without a device.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

VERSION = 3  # of config.json; from 3 on a key or argument that a run's record lacks takes its default
LAST_OF_VERSION_2 = "b7ec8bb"  # the last commit that reads runs of version 2


class Key(NamedTuple):
  """One key.

  Attributes:
    default: the value in `get_config`, whose type every other value must have.
    doc: the meaning, as a line of --help.
    rule: the allowed values in words; empty if every value is allowed.
    holds: tells whether a value keeps the rule.
    may_change: whether a run may be continued under another value.
  """

  default: Any
  doc: str
  rule: str = ""
  holds: Callable[[Any], bool] = lambda value: True
  may_change: bool = False


def _above_zero(default: Any, doc: str, may_change: bool = False) -> Key:
  return Key(default, doc, "must be above 0", lambda v: v > 0, may_change)


def _not_negative(default: Any, doc: str, may_change: bool = False) -> Key:
  return Key(default, doc, "must be 0 or more", lambda v: v >= 0 and math.isfinite(v), may_change)


def _one_of(doc: str, *choices: Any) -> Key:
  """A key whose default is the first choice."""
  return Key(choices[0], doc, f"must be one of {', '.join(map(str, choices))}", lambda v: v in choices)


KEYS: dict[str, Key] = {
  "seed": Key(
    0,
    "seed of the initial weights, the order of the data and all noise",
    "must be in [0, 2^32)",
    lambda v: 0 <= v < 2**32,
  ),
  "family": Key(
    "",
    "module that trains this config: gan, vae, vae_gan, sampler, classifier, regression, or the path of your own",
  ),
  "dtype": _one_of(
    "number format in which networks compute; parameters, statistics and losses stay float32", "float32", "bfloat16"
  ),
  "data.name": Key(
    "digits",
    "data set: folder (your own pictures in data.dir), digits, mnist or other IDX files, cifar10, any TFDS image set, "
    "gaussians8, blobs, or latents",
  ),
  "data.dir": Key("", "directory of the prepared files; empty means the usual places", may_change=True),
  "data.train_split": Key("train", 'slice of the data set to train on, such as "train[:50000]"'),
  "data.validation_split": Key("validation", "slice that is used for choosing a checkpoint and for early stopping"),
  "data.test_split": Key("test", "slice that is used for final results only"),
  "data.image_size": _not_negative(0, "height and width of the images that networks see; 0 keeps the data set's own"),
  "data.image_width": _not_negative(0, "their width where data.image_size is the height only; 0: as the height"),
  "data.channels": _one_of("color channels of the images that networks see; 0 keeps the data set's own", 0, 1, 3),
  "data.resize": _one_of(
    "how images reach data.image_size: by padding, by cropping and scaling, or by stretching", "pad", "crop", "stretch"
  ),
  "data.pixel_range": Key(
    (0.0, 1.0),
    "lowest and highest value of a pixel as networks see it",
    "must be (0.0, 1.0) or (-1.0, 1.0)",
    lambda v: tuple(v) in ((0.0, 1.0), (-1.0, 1.0)),
  ),
  "data.download": Key(
    False, "download and prepare a TFDS set that is missing; this needs the extra tfds-prepare", may_change=True
  ),
  "data.crop": _not_negative(
    0, "side of the window of an image that networks see, at random in training and else central; 0 takes it whole"
  ),
  "data.rotate": Key(False, "turn each training image by 0, 90, 180 or 270 degrees every time it is used"),
  "data.flip": Key(False, "mirror each training image with probability 1/2 every time it is used"),
  "data.dequantize": Key(False, "add uniform noise as wide as one grey level, so that densities stay bounded"),
  "data.binarize": _one_of(
    "dynamic samples black or white pixels: anew every time for training images, once for the others", "none", "dynamic"
  ),
  "data.degradation": Key(
    (),
    "what makes the row seen of an image, for a model that is given it: a tuple of sections {'name': ..., 'argument': "
    "value} in the order in which they are applied, of resize, gaussian_blur, motion_blur, gaussian_noise, "
    "poisson_noise, quantise, jpeg, grey, box, strokes, pixels and real_esrgan",
    "must be a tuple of sections, as in --config.data.degradation=\"({'name': 'resize', 'scale': 2},)\"",
    lambda v: all(isinstance(section, Mapping) for section in v),
  ),
  "data.quantise": Key(True, "clip the row seen and round it to 8 bits, as a file would"),
  "data.resident_mb": _not_negative(
    2048, "a data set of up to this many MB, summed over local devices, is kept on the devices", may_change=True
  ),
  "train.num_steps": _above_zero(1000, "number of training steps; in a GAN, of generator updates", may_change=True),
  "train.batch_size": _above_zero(64, "images per batch, summed over all devices"),
  "train.steps_per_call": _above_zero(
    10, "training steps that one compiled call runs; changes speed only", may_change=True
  ),
  "train.grad_clip": _not_negative(0.0, "global norm to which gradients are clipped; 0 turns clipping off"),
  "train.patience": _not_negative(
    0,
    "training stops after this many evaluations without a better checkpoint.keep_best; 0 means never",
    may_change=True,
  ),
  "train.patience_from": _not_negative(0, "step from which evaluations count for train.patience", may_change=True),
  "checkpoint.every": _above_zero(500, "steps between checkpoints", may_change=True),
  "checkpoint.keep": _above_zero(2, "number of recent checkpoints to keep", may_change=True),
  "checkpoint.keep_best": Key("", "validation metric whose best checkpoint is kept as well; empty keeps none"),
  "checkpoint.best_mode": _one_of("whether the smallest or the largest value of that metric is the best", "min", "max"),
  "log.every": _above_zero(
    100, "steps between lines of metrics.jsonl, each a mean over the steps since the last line", may_change=True
  ),
  "samples.every": _not_negative(500, "steps between saved pictures of samples; 0 saves none", may_change=True),
  "evaluate.every": _not_negative(
    500, "steps between evaluations on the validation split; 0 means never", may_change=True
  ),
  "evaluate.metrics": Key({}, "metrics of samples computed at each evaluation, as {name: {setting: value}}"),
  "evaluate.num_samples": _above_zero(10000, "number of samples for evaluate.metrics"),
  "evaluate.features": Key(
    "classifier", "feature extractor of evaluate.metrics: classifier, inception, random, pixels, or module:function"
  ),
  "parallel.mode": _one_of("how a training step is compiled for several devices", "jit", "shard_map", "pmap"),
  "parallel.sync_batch_norm": Key(
    True, "whether BatchNorm averages over the global batch; False means per device in shard_map and pmap"
  ),
}
SECTIONS: dict[str, Any] = {
  "ema": {"name": "decay", "decay": 0.0, "warmup": 10.0, "start": 0},
  "data.text": {"name": "none"},
}

GAN_KEYS: dict[str, Key] = {
  "z_dim": _not_negative(128, "number of latent variables that the generator gets; 0 if it is given what is seen"),
  "z_prior": _one_of(
    "distribution of the latents: N(0, I), U[-1, 1), or U[-sqrt 3, sqrt 3), whose variance is 1",
    *("normal", "uniform", "standard_uniform"),
  ),
  "penalties": Key({}, "terms added to the discriminator's loss, {name: {argument: value}}; empty: none"),
  "content": Key({}, "terms that compare with the real image, added to the generator's loss, in the same form"),
}
REGRESSION_KEYS: dict[str, Key] = {
  "target": _one_of(
    "what training compares a restored image with: the image, or the image degraded once more (Noise2Noise)",
    *("image", "degraded"),
  ),
}
VAE_SECTIONS: dict[str, Any] = {
  "likelihood": {"name": "bernoulli"},
  "posterior": {"name": "diagonal_gaussian"},
  "prior": {"name": "standard_normal"},
  "objective": {"name": "elbo"},
  "conditioning": {"name": "none"},
  "corruption": {"name": "none"},
}
# The keys and sections that a family adds; a choice is one section.
FAMILIES: dict[str, tuple[dict[str, Key], dict[str, Any]]] = {
  "gan": (
    GAN_KEYS,
    {
      "game": {"name": "rounds", "n_critic": 1},
      "conditioning": {"name": "none"},
      "loss": {"name": "non_saturating"},
      "augment": {"name": "none"},
    },
  ),
  "vae": ({}, VAE_SECTIONS),
  "vae_gan": (
    {"content": GAN_KEYS["content"]},
    {**VAE_SECTIONS, "game": {"name": "adaptive"}, "loss": {"name": "hinge"}},
  ),
  "sampler": ({}, {"sampler": {"name": "gmm"}}),
  "regression": (REGRESSION_KEYS, {"loss": {"name": "l1"}}),
}
NAMED_BY_KEY = ("penalties", "content", "evaluate.metrics")  # {name: {argument: value}} in the place of one choice
EVERY_KEY = {**KEYS, **{path: key for own, _ in FAMILIES.values() for path, key in own.items()}}


def keys(family: str) -> dict[str, Key]:
  """Returns the shared keys of a family's configs by dotted path; a family without keys here has those of all."""
  return {**KEYS, **FAMILIES.get(family, ({}, {}))[0]}


def get_config(family: str = "") -> ConfigDict:
  """Returns an unlocked config with the shared keys of all families and those of this family at their defaults."""
  return ConfigDict(with_defaults({"family": family})[0])


def with_defaults(record: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
  """Returns a run's recorded config completed with the defaults of the keys it lacks, and a note on each of these."""
  complete: dict[str, Any] = json.loads(json.dumps(record))
  family = record["family"]
  sections = {**SECTIONS, **FAMILIES.get(family, ({}, {}))[1]}
  notes = []
  for path, default in {**{path: key.default for path, key in keys(family).items()}, **sections}.items():
    section = complete
    *parents, name = path.split(".")
    for parent in parents:
      section = section.setdefault(parent, {})
    if name not in section:
      section[name] = default
      notes.append(f"config.{path} is {default}: the run is older than this key")
  return complete, notes


def is_shared(path: str) -> bool:
  """Whether a path is a section of shared keys, which cannot be replaced as a whole."""
  return any(field.startswith(f"{path}.") for field in EVERY_KEY)


def may_change(path: str) -> bool:
  """Whether a run may be continued under another value of this key."""
  return path in KEYS and KEYS[path].may_change


def problems(config: ConfigDict) -> list[str]:
  """Returns one line for each shared key that breaks its rule: field, value, rule."""
  values = [(path, key, value_at(config, path)) for path, key in EVERY_KEY.items()]
  broken = [f"config.{path}={v} {key.rule}" for path, key, v in values if v is not None and not key.holds(v)]
  return broken or _interval_problems(config) + _average_problems(config)


def value_at(config: Any, path: str) -> Any:
  """Returns the value at a dotted path, or None if the config lacks it."""
  for key in path.split("."):
    if key not in config:
      return None
    config = config[key]
  return config


def _interval_problems(config: Any) -> list[str]:
  call, log, save = config.train.steps_per_call, config.log.every, config.checkpoint.every
  paths = ("train.num_steps", "log.every", "samples.every", "evaluate.every", "checkpoint.every")
  intervals = {path: value_at(config, path) for path in paths}
  fits = math.gcd(call, *intervals.values())
  broken = [
    f"config.{path}={interval} must be a multiple of config.train.steps_per_call={call}; "
    f"set --config.train.steps_per_call={fits} or another interval"
    for path, interval in intervals.items()
    if interval % call
  ]
  if not broken and save % log:
    broken.append(
      f"config.checkpoint.every={save} must be a multiple of config.log.every={log}; "
      f"set --config.checkpoint.every={save + -save % log} or --config.log.every={math.gcd(save, log)}"
    )
  if config.train.patience and not (config.checkpoint.keep_best and config.evaluate.every):
    broken.append(
      f"config.train.patience={config.train.patience} needs config.checkpoint.keep_best and config.evaluate.every; "
      "set both, or --config.train.patience=0"
    )
  return broken


def _average_problems(config: Any) -> list[str]:
  """Refuses an average of weights whose starting point still makes up more than a twentieth of it at the end."""
  decay, warmup, start, half_life, ramp = (
    value_at(config, f"ema.{key}") for key in ("decay", "warmup", "start", "updates", "ramp")
  )
  updates = config.train.num_steps - (start or 0)
  if decay and warmup is not None and updates > 0:  # without a warm-up in the config it is 10
    said, way, part = f"warmup={warmup}", "warmup=10.0", 1.0
    for t in range(updates):  # as in `common.ema.by_decay`
      part *= min(decay, (1 + t) / max(warmup + t, 1e-8))
      if part <= 0.05:
        break
  elif isinstance(half_life, float) and half_life > 0.0 and not ramp:
    said, way, part = f"updates={half_life}", "ramp=0.05", 2.0 ** (-updates / half_life)
  else:
    return []
  said = f"config.ema.{said} leaves the weights at step {start or 0:,} a part of {part:.2f} in their average"
  return [f"{said} after {config.train.num_steps:,} steps; set --config.ema.{way}"] if part > 0.05 else []
