"""What the shared keys of a config mean, which values they may have, which may change, and what old runs lack."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


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
  "family": Field("which code trains it, a name of FAMILIES in experiments/__init__.py"),
  "dtype": _one_of("what networks compute in; parameters, statistics and losses stay float32", "float32", "bfloat16"),
  "data.name": Field("digits, an MNIST-like set of IDX files, cifar10, any TFDS image set, gaussians8, blobs"),
  "data.dir": Field("where prepared files lie; empty for the usual places"),
  "data.train_split": Field('examples to train on, as in "train[:50000]"'),
  "data.validation_split": Field("examples that choose and stop"),
  "data.test_split": Field("examples that only results are read from"),
  "data.image_size": _not_negative("height and width that the networks see; 0 for the set's own"),
  "data.channels": _one_of("colour channels; 0 for the set's own", 0, 1, 3),
  "data.resize": Field(
    "how an image gets that size: amid black (pad), or resized: its middle square (crop), or all of it (stretch)",
    'must be one of pad, crop, stretch ("bilinear" is called crop now)',
    lambda v: v in ("pad", "crop", "stretch"),
  ),
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
  "train.patience_from": _not_negative("step from which evaluations count for train.patience"),
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
  "z_prior": _one_of(
    "distribution of the latents: N(0, I), U[-1, 1), or U[-sqrt 3, sqrt 3), whose variance is 1",
    "normal",
    "uniform",
    "standard_uniform",
  ),
  "n_critic": _above_zero("discriminator updates a step"),
  "update_order": _one_of("whether G meets D before or after D's update", "alternating", "simultaneous"),
  "fakes": _one_of("whether G is judged on D's last latents or on fresh ones", "shared", "fresh"),
  "generator_reals": _one_of(
    "whether G's update has D's last batch of real images or one of its own", "shared", "fresh"
  ),
  "generator_batch_multiple": _above_zero("batches of latents in an update of G, which a batch of images then meets"),
  "discriminator_passes": _one_of("1: real and fake in one batch, BatchNorm over both; 2: one after the other", 1, 2),
  "critic_warmup.updates": _not_negative("D updates before some of G's, which skips rounds for them; 0: none"),
  "critic_warmup.first": _not_negative("the first so many updates of G are such"),
  "critic_warmup.every": _not_negative("and each so many-th; 0 for no others"),
  "weight_clip": _not_negative("D's parameters are clipped to [-c, c] after each update; 0 for not"),
  "generator_orthogonal": _not_negative("weight of the orthogonal regularisation of G's kernels; 0 for none"),
  "penalties": Field("terms added to the discriminator's loss, {name: {argument: value}}; empty for none"),
  "lazy_penalties": _one_of(
    "penalties of each so many-th update: a term of its loss, or an update more and the optimizer rescaled",
    "term",
    "update",
  ),
  "discriminator_loss_scale": _above_zero("factor of the discriminator's loss; many codes have 0.5"),
}

# A run goes on under other values of these; of all others the difference is shown and the start refused.
MAY_CHANGE = (
  "data.dir",
  "data.download",
  "data.resident_mb",
  "train.num_steps",
  "train.patience",
  "train.patience_from",
  "train.steps_per_call",
  "checkpoint.every",
  "checkpoint.keep",
  "log.every",
  "samples.every",
  "evaluate.every",
)

# {family: {key: value}} for keys that runs of older versions lack; reported when used.
_EVERY_FAMILY = {
  "train.patience_from": 0,
  "ema.name": "decay",
  "evaluate.metrics": {},
  "evaluate.num_samples": 10000,
  "evaluate.features": "classifier",
}
WARMUP = {"updates": 0, "first": 0, "every": 0}
ALL_FAKES = {"name": "constant", "value": 1.0}
NO_AVERAGE = {"name": "decay", "decay": 0.0, "warmup": 10.0, "start": 0}
MIGRATIONS: dict[str, dict[str, Any]] = {
  "gan": {
    "augment": {"name": "none"},
    "top_k": dict(ALL_FAKES),
    "penalties": {},
    "lazy_penalties": "term",
    "weight_clip": 0.0,
    "generator_orthogonal": 0.0,
    "critic_warmup": WARMUP,
    "generator_batch_multiple": 1,
    "generator_reals": "shared",
    **_EVERY_FAMILY,
  },
  "vae": {"conditioning": {"name": "none"}, "corruption": {"name": "none"}, **_EVERY_FAMILY},
  "classifier": _EVERY_FAMILY,
}
RENAMED = {"data.resize": {"bilinear": "crop"}}  # values of older versions, {key: {then: now}}
ARGUMENTS = {"r3gan": {"wide_to": 32}, "decay": {"start": 0}}  # the same, {name of a choice: {argument: value}}
CONFIG_VERSION = 2  # in config.json; 2: the regularizers of the objective "rae" are those of its authors' code


def problems(config: Mapping[str, Any]) -> list[str]:
  """Every shared or plain key that breaks its rule, one line each: field, value, rule."""
  found = [
    f"config.{path}={_get(config, path)} {field.rule}"
    for path, field in FIELDS.items()
    if _get(config, path) is not None and not field.holds(_get(config, path))
  ]
  return found or _interval_problems(config) + _average_problems(config)


def _interval_problems(config: Any) -> list[str]:
  call, log, save = config.train.steps_per_call, config.log.every, config.checkpoint.every
  paths = ("train.num_steps", "log.every", "samples.every", "evaluate.every", "checkpoint.every")
  intervals = {path: _get(config, path) for path in paths}
  fits = math.gcd(call, *intervals.values())
  found = [
    f"config.{path}={interval} must be a multiple of config.train.steps_per_call={call}; "
    f"set --config.train.steps_per_call={fits} or another interval"
    for path, interval in intervals.items()
    if interval % call
  ]
  if not found and save % log:
    found.append(
      f"config.checkpoint.every={save} must be a multiple of config.log.every={log}; "
      f"set --config.checkpoint.every={save + -save % log} or --config.log.every={math.gcd(save, log)}"
    )
  if config.train.patience and not (config.checkpoint.keep_best and config.evaluate.every):
    found.append(
      f"config.train.patience={config.train.patience} needs config.checkpoint.keep_best and config.evaluate.every; "
      "set both, or --config.train.patience=0"
    )
  return found


def _average_problems(config: Any) -> list[str]:
  """Of an average in which, at the end, the weights that it started from have more than a twentieth."""
  decay, warmup, start, half_life, ramp = (
    _get(config, f"ema.{key}") for key in ("decay", "warmup", "start", "updates", "ramp")
  )
  updates = config.train.num_steps - (start or 0)
  if decay and warmup is not None and updates > 0:  # a warm-up that is left out is 10
    said, way, part = f"warmup={warmup}", "warmup=10.0", 1.0
    for t in range(updates):  # as `common.ema.by_decay` has it
      part *= min(decay, (1 + t) / max(warmup + t, 1e-8))
      if part <= 0.05:
        break
  elif isinstance(half_life, float) and half_life > 0.0 and not ramp:
    said, way, part = f"updates={half_life}", "ramp=0.05", 2.0 ** (-updates / half_life)
  else:
    return []
  said = f"config.ema.{said} leaves the weights at step {start or 0:,} a part of {part:.2f} in their average"
  return [f"{said} after {config.train.num_steps:,} steps; set --config.ema.{way}"] if part > 0.05 else []


def may_change(path: str) -> bool:
  """Whether a run may be resumed under another value of this key."""
  return path in MAY_CHANGE


def _get(config: Any, path: str) -> Any:
  for key in path.split("."):
    if key not in config:
      return None
    config = config[key]
  return config
