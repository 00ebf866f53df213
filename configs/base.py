"""What every config shares: its keys and their values, the data sets, and how variants are read; the rules: rules.py.

A paper's file starts from `get_config`, adds its own sections and returns `finish(config)`, which locks it: a key
that is not there cannot be set by mistake. A choice is one section ``{"name": ..., **arguments}``, swapped whole on
the command line (``--config.loss="{'name':'saturating'}"``) and checked against what it names. This module imports
no JAX: a launcher reads a config without a device.
"""

import difflib
from collections.abc import Collection
from typing import Any

from ml_collections import ConfigDict

from configs.rules import ALL_FAKES, NO_AVERAGE, WARMUP

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
    "resize": "crop",
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
TRAIN_EXAMPLES = {"digits": 1400, "fashion_mnist": 50000, "mnist": 50000, "cifar10": 45000}
FEW = 10000  # examples, below which an epoch is too short to evaluate after each
ADAM = {"learning_rate": 1e-3, "b1": 0.9, "b2": 0.999, "eps": 1e-8}
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
      "train": {
        "num_steps": 1000,
        "batch_size": 64,
        "steps_per_call": 10,
        "grad_clip": 0.0,
        "patience": 0,
        "patience_from": 0,
      },
      "ema": dict(NO_AVERAGE),
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
  config.critic_warmup = dict(WARMUP)
  config.lazy_penalties = "term"
  config.weight_clip = 0.0
  config.generator_orthogonal = 0.0
  config.update_order = "alternating"
  config.fakes = "fresh"
  config.generator_reals = "shared"
  config.generator_batch_multiple = 1
  config.discriminator_passes = 2
  config.discriminator_loss_scale = 1.0
  config.conditioning = {"name": "none"}
  config.loss = {"name": "non_saturating"}
  config.penalties = {}
  config.augment = {"name": "none"}
  config.top_k = dict(ALL_FAKES)


def use_vae(config: ConfigDict) -> None:
  """The keys of a VAE, at what most papers have: a Gaussian posterior, N(0, I), binary pixels and the plain bound."""
  config.family = "vae"
  config.likelihood = {"name": "bernoulli"}
  config.posterior = {"name": "diagonal_gaussian"}
  config.prior = {"name": "standard_normal"}
  config.objective = {"name": "elbo"}
  config.conditioning = {"name": "none"}
  config.corruption = {"name": "none"}


def use_binary_images(
  config: ConfigDict, dataset: str, *, batch_size: int, epochs: int = 20, tiny: bool = False
) -> None:
  """A data set of black and white pixels, drawn anew from the grey values at each use, those of held-out images once.

  An evaluation, pictures and a checkpoint after each epoch; 3,000 steps on the few digits, which are 16x16, evaluated
  every 500. The best bound on the validation split is kept.
  """
  use_dataset(config, dataset, image_size=16 if dataset == "digits" else 0, tiny=tiny)
  examples = TRAIN_EXAMPLES[dataset]
  few = examples < FEW
  epoch = 500 if few else examples // batch_size // 10 * 10
  config.train.update({"num_steps": 3000 if few else epochs * epoch, "batch_size": batch_size})
  set_every(config, log=epoch // 5 if epoch % 50 == 0 else epoch, rest=epoch)
  config.data.binarize = "dynamic"
  config.checkpoint.update({"keep_best": "elbo", "best_mode": "max"})


def use_exemplar_protocol(config: ConfigDict, dataset: str, *, tiny: bool = False) -> None:
  """Data, optimizer, warm-up and stopping rule of Exemplar VAE (Norouzi et al. 2020, arXiv:2004.04795), by its code.

  50,000 images of a batch of 100, Adam 5e-4 on gradients of unit norm, beta from 0 to 1 over 100 epochs, at most 2,000
  epochs, stopping after more than 50 without a better validation bound, which count from the end of the warm-up;
  log-variances in [-6, 2]. Not as there: rates are closed forms where there are any, beta rises with each step, not
  each epoch; probabilities are not clipped to [1e-5, 1 - 1e-5]. The few digits keep their 3,000 steps.
  """
  use_binary_images(config, dataset, batch_size=100, epochs=2000, tiny=tiny)
  epoch = config.evaluate.every
  few = TRAIN_EXAMPLES[dataset] < FEW
  config.posterior = {"name": "diagonal_gaussian", "log_var_range": (-6.0, 2.0)}
  steps = 100 * (TRAIN_EXAMPLES[dataset] // config.train.batch_size)
  config.objective = {"name": "elbo", "beta": {"name": "linear", "start": 0.0, "end": 1.0, "steps": steps}}
  config.optim = {"name": "normalized_adam", **ADAM, "learning_rate": 5e-4, "norm_eps": 1e-7}
  config.train.update({"patience": 51, "patience_from": steps})
  if not few:
    config.samples.every = config.checkpoint.every = 10 * epoch


def use_grey_images(config: ConfigDict, dataset: str, *, batch_size: int, epochs: int = 20, tiny: bool = False) -> None:
  """As `use_binary_images`, under grey values as they are; the least distortion on the validation split is kept."""
  use_binary_images(config, dataset, batch_size=batch_size, epochs=epochs, tiny=tiny)
  config.data.binarize = "none"
  config.checkpoint.update({"keep_best": "distortion", "best_mode": "min"})


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
    config.data.resize = "crop"
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
