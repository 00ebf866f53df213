"""Parts that the configs of several papers share: data sets, the words after the colon of --config, and recipes."""

import difflib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ml_collections import ConfigDict

from configs import schema

Words = Collection[str]
_MNIST = {"image_size": 28, "channels": 1, "train_split": "train[:50000]", "validation_split": "train[50000:]"}
_CIFAR = {"image_size": 32, "channels": 3, "train_split": "train[:45000]", "validation_split": "train[45000:]"}
DATASETS: dict[str, dict[str, Any]] = {
  "digits": {"name": "digits", "image_size": 8, "channels": 1, "resize": "crop"},
  "fashion_mnist": {"name": "fashion_mnist", **_MNIST},
  "mnist": {"name": "mnist", **_MNIST},
  "cifar10": {"name": "cifar10", **_CIFAR},
  "celeba64": {"name": "celeb_a", "image_size": 64, "channels": 3, "resize": "crop"},
  "stacked_mnist": {"name": "stacked_mnist", "image_size": 28, "channels": 3},
  "stacked_fashion": {"name": "stacked_fashion_mnist", "image_size": 28, "channels": 3},
  "gaussians8": {"name": "gaussians8", "image_size": 0, "channels": 0},
  "folder": {"name": "folder", "image_size": 64, "channels": 3, "resize": "crop"},
  "photos": {"name": "photos", "image_size": 64, "channels": 3},
  "emoji": {"name": "emoji", "image_size": 32, "channels": 3, "resize": "crop"},
  "emoji_people": {"name": "emoji_people", "image_size": 32, "channels": 3},
}
# Every config that takes cifar10 takes these too, with the recipe that its paper has for smaller sets.
COLOR = ("folder", "photos", "emoji", "emoji_people")
GREY = ("digits", "fashion_mnist", "mnist")
ALL = (*GREY, "cifar10")
TRAIN_EXAMPLES = {
  "digits": 1400, "fashion_mnist": 50000, "mnist": 50000, "cifar10": 45000, "gaussians8": 65536,
  "folder": 5000, "photos": 7728, "emoji": 3066, "emoji_people": 608,  # a folder's number is not known here
}  # fmt: skip
NARROW = {"generator": {"width": 8}, "discriminator": {"width": 8}}  # the networks of most tiny GANs
FEW = 10000  # examples, below which an epoch is too short to evaluate after each
FEATURES = {  # the extractor of sample metrics: a classifier where one comes with the code
  "cifar10": "classifier",
  "digits": "classifier",
  "emoji": "classifier:cifar10",
  "emoji_people": "classifier:cifar10",
  "fashion_mnist": "classifier",
  "gaussians8": "pixels",
  "stacked_fashion": "stacked:fashion_mnist",
  "stacked_mnist": "stacked:mnist",
}


def variants(argument: str, datasets: Words, others: Words = ()) -> tuple[str, set[str]]:
  """Reads the part after the colon of ``--config=dcgan:fashion_mnist,tiny``; with cifar10, ``COLOR`` is allowed too.

  Returns:
    The data set's name, by default the first of ``datasets``, and the set of other words.

  Raises:
    ValueError: a word is unknown, or two words name data sets.
  """
  words = [word for word in (argument or "").split(",") if word]
  if "cifar10" in datasets:
    datasets = (*datasets, *COLOR)
  allowed = [*datasets, *others, "tiny"]
  for word in words:
    if word not in allowed:
      close = difflib.get_close_matches(word, allowed, n=1)
      hint = f'did you mean "{close[0]}"?' if close else f"another data set is set as in --config.data.name={word}"
      raise ValueError(f'variant "{word}" is unknown: there are {", ".join(allowed)}; {hint}')
  chosen = [word for word in words if word in datasets]
  if len(chosen) > 1:
    raise ValueError(f"variants {' and '.join(chosen)} name two data sets; take one")
  return (chosen or list(datasets))[0], {word for word in words if word not in datasets}


def one_of(words: Words, models: Words, default: str) -> str:
  """Returns the word of ``models`` that is among the variants, by default ``default``; ValueError: there are two."""
  chosen = sorted(set(words) & set(models))
  if len(chosen) > 1:
    raise ValueError(f"variants {' and '.join(chosen)} are different models; take one")
  return chosen[0] if chosen else default


def use_dataset(config: ConfigDict, dataset: str, *, image_size: int = 0, tiny: bool = False) -> None:
  """Sets ``config.data`` to a data set or, if ``tiny``, to generated blobs of its shape.

  The sets that need no download stay, and so does a user's folder.
  """
  config.data.update(DATASETS[dataset])
  if image_size:
    config.data.image_size = image_size
  config.evaluate.features = FEATURES.get(dataset, "random")
  if tiny and dataset not in ("digits", "gaussians8", "folder", "emoji_people"):
    blobs = "blobs:0" if dataset in ("celeba64", "photos") else "blobs"  # without labels as the set, or of 10 classes
    config.evaluate.features = "random"
    config.data.update({"name": blobs, "train_split": "train", "validation_split": "validation"})


def set_every(config: ConfigDict, *, log: int, rest: int) -> None:
  """Sets the steps between log lines, and those between evaluations, pictures and checkpoints."""
  config.log.every = log
  config.evaluate.every = config.samples.every = config.checkpoint.every = rest


def finish(config: ConfigDict, words: Words = (), **tiny: Mapping[str, Any]) -> ConfigDict:
  """Locks the config, so that only keys that exist can be set; the variant "tiny" is shrunk before.

  It then trains for 40 steps of 48 images, enough to see that everything runs.

  Args:
    config: the config with all its sections.
    words: the variants, as `variants` returns them.
    **tiny: for the variant "tiny", the arguments to replace in each section, as in ``model={"width": 8}``.
  """
  if "tiny" in words:
    config.train.update({"num_steps": 40, "batch_size": 48, "steps_per_call": 5})
    set_every(config, log=10, rest=20)
    for section, arguments in tiny.items():
      config[section].update(arguments)
  return config.lock()


def adam(learning_rate: Any, b1: float = 0.9, b2: Any = 0.999, eps: float = 1e-8) -> dict[str, Any]:
  """Returns the section of Adam; the defaults are those of its paper (Kingma & Ba 2015)."""
  return {"name": "adam", "learning_rate": learning_rate, "b1": b1, "b2": b2, "eps": eps}


def gan(
  argument: str, others: Words = (), *, datasets: Words = ALL, num_steps: int = 10000, batch_size: int = 64
) -> tuple[ConfigDict, str, set[str]]:
  """Starts the config of a GAN on images in [-1, 1] whose side is a power of two, 16 or more.

  Args:
    argument: the part of --config after the colon.
    others: the variants that are not data sets.
    datasets: the data sets; the first is the default.
    num_steps: training steps; the few digits get 1,500.
    batch_size: images per batch.

  Returns:
    The config, the name of the data set, and the other words of ``argument``.
  """
  dataset, words = variants(argument, datasets, others)
  config = schema.get_config("gan")
  side = max(16, 2 ** (DATASETS[dataset]["image_size"] - 1).bit_length())
  use_dataset(config, dataset, image_size=side, tiny="tiny" in words)
  config.data.pixel_range = (-1.0, 1.0)
  config.train.update({"num_steps": 1500 if dataset == "digits" else num_steps, "batch_size": batch_size})
  set_every(config, log=50, rest=500)
  return config, dataset, words


def use_perceptrons(config: ConfigDict, dataset: str, *, decay: float) -> None:
  """Sets the players of Goodfellow et al. 2014 and their training: 250 epochs of SGD at 0.1 / ``decay``^updates."""
  steps = 250 * (TRAIN_EXAMPLES[dataset] // 100)
  config.train.update({"num_steps": steps, "batch_size": 100})
  config.game.update({"order": "simultaneous", "fakes": "shared", "d_loss_scale": 0.5})
  config.generator = {"name": "mlp", "width": 1200, "layers": 2, "init_range": 0.05}
  dropout = {"input_dropout": 0.2, "hidden_dropout": 0.5}
  config.discriminator = {"name": "mlp", "width": 240, "pieces": 5, "layers": 2, **dropout, "init_range": 0.005}
  config.generator_optim = config.discriminator_optim = {
    "name": "sgd",
    "learning_rate": {"name": "exponential", "start": 0.1, "factor": 1 / decay, "floor": 1e-6},
    "momentum": {"name": "linear", "start": 0.5, "end": 0.7, "steps": steps},
  }


def use_dcgan(config: ConfigDict, *, width: int = 64, kernel_size: int = 4, batch_norm: bool = True) -> None:
  """Sets DCGAN's networks as most code bases train them; ``batch_norm`` says whether D has BatchNorm."""
  network = {"name": "dcgan", "width": width, "kernel_size": kernel_size}
  statistics = {"bn_momentum": 0.9, "bn_epsilon": 1e-5}
  config.generator = {**network, **statistics}
  config.discriminator = {**network, "slope": 0.2, "batch_norm": batch_norm, **(statistics if batch_norm else {})}


def use_wasserstein(config: ConfigDict) -> None:
  """Sets the loss and the penalty of WGAN-GP (Gulrajani et al. 2017, Eq. 3)."""
  config.loss = {"name": "wasserstein"}
  config.penalties = {"gradient_penalty": {"weight": 10.0, "target": 1.0}}


def residual(argument: str, others: Words = ()) -> tuple[ConfigDict, str, set[str]]:
  """Starts a config as `gan` does, with the recipe of configs/sngan.py, and with ``quick`` if ``others`` has it."""
  config, dataset, words = gan(argument, others)
  full_size = dataset == "cifar10"
  if full_size:
    config.train.num_steps = 50000
    config.data.update({"dequantize": True, "train_split": "train"})
  config.z_dim = 128
  config.game.update({"n_critic": 5, "generator_batches": 2})
  config.generator = {"name": "resnet", "width": 256 if full_size else 64, "bn_momentum": 0.9, "bn_epsilon": 2e-5}
  config.discriminator = {"name": "resnet", "width": 128 if full_size else 64, "spectral_norm": True}
  config.loss = {"name": "hinge"}
  start = 2e-4
  if "quick" in words:
    start = 1e-3
    config.game.n_critic = 1
    config.generator.width = config.discriminator.width = 32
    config.train.num_steps = 5000
  steps = config.train.get_ref("num_steps")  # an expression of it follows it; by itself it would also set it
  config.generator_optim, config.discriminator_optim = (
    adam({"name": "linear", "start": start, "end": 0.0, "steps": turns * steps}, b1=0.0, b2=0.9)
    for turns in (1, config.game.get_ref("n_critic"))
  )
  return config, dataset, words


def use_binary_images(
  config: ConfigDict, dataset: str, *, batch_size: int, epochs: int = 20, tiny: bool = False
) -> None:
  """Sets a data set of black and white pixels, which are sampled from the grey values every time an image is used.

  Pixels of held-out images are sampled once. Evaluations, pictures and checkpoints come after each epoch, and the
  checkpoint with the best bound on the validation split is kept. The few digits, at 16x16, get 3,000 steps and an
  evaluation every 500, and so do the sets of ``COLOR``, which keep their values under a Gaussian with a variance at
  each pixel.
  """
  use_dataset(config, dataset, image_size=16 if dataset == "digits" else 0, tiny=tiny)
  examples = TRAIN_EXAMPLES[dataset]
  few = examples < FEW
  epoch = 500 if few else examples // batch_size // 10 * 10
  config.train.update({"num_steps": 3000 if few else epochs * epoch, "batch_size": batch_size})
  set_every(config, log=epoch // 5 if epoch % 50 == 0 else epoch, rest=epoch)
  if dataset in COLOR:
    config.likelihood = {"name": "gaussian", "sigma": 0.0, "min_log_var": -7.0}
  else:
    config.data.binarize = "dynamic"
  config.checkpoint.update({"keep_best": "elbo", "best_mode": "max"})


def use_grey_images(config: ConfigDict, dataset: str, *, batch_size: int, epochs: int = 20, tiny: bool = False) -> None:
  """Does what `use_binary_images` does, but keeps grey values, and the checkpoint with the least distortion."""
  use_binary_images(config, dataset, batch_size=batch_size, epochs=epochs, tiny=tiny)
  config.data.binarize = "none"
  config.checkpoint.update({"keep_best": "distortion", "best_mode": "min"})


def use_exemplar_protocol(config: ConfigDict, dataset: str, *, tiny: bool = False) -> None:
  """Sets data, optimizer, warm-up and stopping rule of Exemplar VAE (Norouzi et al. 2020, arXiv:2004.04795).

  As in its code: 50,000 images, batch 100, Adam 5e-4 on gradients of unit norm, log-variances in [-6, 2]; beta rises
  from 0 to 1 over 100 epochs; training stops after 2,000 epochs, or when more than 50 after the warm-up bring no better
  validation bound. Differences: a rate is a closed form where one exists; beta rises with each step, not each epoch;
  probabilities are not clipped to [1e-5, 1 - 1e-5]. The few digits keep their 3,000 steps.
  """
  use_binary_images(config, dataset, batch_size=100, epochs=2000, tiny=tiny)
  config.posterior = {"name": "diagonal_gaussian", "log_var_range": (-6.0, 2.0)}
  steps = 100 * (TRAIN_EXAMPLES[dataset] // config.train.batch_size)
  config.objective = {"name": "elbo", "beta": {"name": "linear", "start": 0.0, "end": 1.0, "steps": steps}}
  config.optim = {**adam(5e-4), "name": "normalized_adam", "norm_eps": 1e-7}
  config.train.update({"patience": 51, "patience_from": steps})
  if TRAIN_EXAMPLES[dataset] >= FEW:
    config.samples.every = config.checkpoint.every = 10 * config.evaluate.every


def vae(
  argument: str,
  others: Words = (),
  *,
  datasets: Words = ALL,
  protocol: Callable[..., None] = use_binary_images,
  family: str = "vae",
  **settings: int,
) -> tuple[ConfigDict, str, set[str]]:
  """Starts the config of a VAE; arguments and result are as in `gan`. The ``family`` vae_gan has a discriminator too.

  ``protocol`` sets data and training: `use_binary_images`, `use_grey_images` or `use_exemplar_protocol`; ``settings``
  are its further arguments, such as ``batch_size``.
  """
  dataset, words = variants(argument, datasets, others)
  config = schema.get_config(family)
  protocol(config, dataset, tiny="tiny" in words, **settings)
  return config, dataset, words


def restoration(
  argument: str, others: Words = (), *, datasets: Words = ("photos", "cifar10"), crop: int = 64, is_gan: bool = False
) -> tuple[ConfigDict, str, set[str]]:
  """Starts the config of a regression, which keeps the checkpoint with the best validation PSNR, or of a GAN.

  Arguments and result are as in `gan`. Of photographs and a user's pictures it sees windows of ``crop`` pixels at
  random places of squares of 96, turned at random; of others the whole.
  """
  dataset, words = variants(argument, datasets, others)
  config = schema.get_config("gan" if is_gan else "regression")
  large = dataset in ("photos", "folder")
  use_dataset(config, dataset, image_size=96 if large else 0, tiny="tiny" in words)
  config.data.update({"flip": dataset not in GREY, "rotate": large, "crop": crop if large else 0})
  set_every(config, log=100, rest=1000)
  config.ema.decay = 0.999
  if not is_gan:
    config.checkpoint.update({"keep_best": "psnr", "best_mode": "max"})
  return config, dataset, words


def use_short_adam(config: ConfigDict) -> None:
  """Sets Adam from 1e-3 to 0 on a cosine over the training, as suits a few thousand steps."""
  rate = {"name": "cosine", "start": 1e-3, "end": 0.0, "steps": config.train.get_oneway_ref("num_steps")}
  config.optim = adam(rate, b2=0.99)
