"""Generative Adversarial Nets (Goodfellow et al. 2014, arXiv:1406.2661): rectifier MLP against maxout MLP with dropout.

Recipe: the authors' MNIST run (goodfeli/adversarial, mnist.yaml): SGD at 0.1 / 1.000004^updates (not below 1e-6),
momentum 0.5 -> 0.7 over 250 epochs, batch 100, both players updated at once on shared fakes, non-saturating G loss, 0.5
x the D loss, dropout 0.2 on D's input and 0.5 in it, weights from U(-0.05, 0.05) in G and U(-0.005, 0.005) in D, z of
100 from U[-sqrt 3, sqrt 3), images in [0, 1]. Not as there: G's output biases start at 0, not at the data's marginals.

Number to expect: Table 1, MNIST, Parzen-window log-likelihood 225 +- 2 nats (test images, sigma cross-validated; 10k
samples: recalled, unverified): python -m experiments.evaluate --metrics=parzen; not measured yet. On gaussians8, all 8
modes (tests/learning_test.py).

Variants: digits (the default), fashion_mnist, mnist, cifar10, gaussians8 (the 2-D toy), saturating (Eq. 1 as it
stands), tapered (not the paper's: what most tutorials train, gan/networks/tapered_mlp.py, Adam 2e-4 with beta1 0.5,
batch 64, images in [-1, 1], D first; the PyTorch-GAN collection moves G first, which on shared fakes is
game.order=simultaneous), tiny.
Command: python -m experiments.train --config=configs/gan.py:fashion_mnist --workdir=runs/gan
Time: fashion_mnist 68 minutes on 2 CPU cores by --check (32 ms a step); digits took 3.4 beside two other jobs.
"""

from ml_collections import ConfigDict

from configs import recipes, schema


def get_config(argument: str = "") -> ConfigDict:
  dataset, words = recipes.variants(argument, (*recipes.ALL, "gaussians8"), ("saturating", "tapered"))
  config = schema.get_config("gan")
  recipes.use_dataset(config, dataset, tiny="tiny" in words)
  updates_per_epoch = {"digits": 14, "cifar10": 450}.get(dataset, 500)  # of 100 images
  config.train.update({"num_steps": 250 * updates_per_epoch, "batch_size": 100})
  recipes.set_every(config, log=100, rest=500 if dataset == "digits" else 5000)

  config.z_dim = 100
  config.z_prior = "standard_uniform"
  config.game.update({"order": "simultaneous", "fakes": "shared", "d_loss_scale": 0.5})
  config.generator = {"name": "mlp", "width": 1200, "layers": 2, "init_range": 0.05}
  config.discriminator = {
    "name": "mlp",
    "width": 240,
    "pieces": 5,
    "layers": 2,
    "input_dropout": 0.2,
    "hidden_dropout": 0.5,
    "init_range": 0.005,
  }
  config.loss = {"name": "saturating" if "saturating" in words else "non_saturating"}
  config.generator_optim = config.discriminator_optim = {
    "name": "sgd",
    "learning_rate": {"name": "exponential", "start": 0.1, "factor": 1 / 1.000004, "floor": 1e-6},
    "momentum": {"name": "linear", "start": 0.5, "end": 0.7, "steps": 250 * updates_per_epoch},
  }
  if dataset == "gaussians8":
    _two_dimensional(config)
  if "tapered" in words:
    _tapered(config, epoch={"digits": 21, "cifar10": 703}.get(dataset, 781))
  if "tapered" in words:
    return recipes.finish(config, words, generator={"widths": (16, 32)}, discriminator={"widths": (32, 16)})
  return recipes.finish(config, words, generator={"width": 32}, discriminator={"width": 16})


def _two_dimensional(config: ConfigDict) -> None:
  """Not the paper's: Adam decaying to 0, z of 2, larger weights at the start, averaged weights.

  D learns twice as fast and has a little dropout: without, about one seed in three lost a mode.
  """
  config.data.pixel_range = (-1.0, 1.0)
  config.train.update({"num_steps": 3000, "batch_size": 128, "steps_per_call": 100})
  recipes.set_every(config, log=500, rest=1000)
  config.ema.decay = 0.99
  config.z_dim = 2
  config.z_prior = "normal"
  config.game.update({"order": "alternating", "fakes": "fresh", "d_loss_scale": 1.0})
  config.generator.update({"width": 128, "init_range": 0.2})
  config.discriminator.update(
    {"width": 64, "pieces": 2, "input_dropout": 0.0, "hidden_dropout": 0.1, "init_range": 0.3}
  )
  config.generator_optim, config.discriminator_optim = (
    recipes.adam(
      {
        "name": "cosine",
        "start": start,
        "end": 0.0,
        "steps": config.train.get_oneway_ref("num_steps"),
      },
      b1=0.5,
      b2=0.99,
    )
    for start in (1e-3, 2e-3)
  )


def _tapered(config: ConfigDict, epoch: int) -> None:
  """Not the paper's: 200 epochs of ``epoch`` steps with other networks and Adam."""
  config.data.pixel_range = (-1.0, 1.0)
  config.train.update({"num_steps": 200 * epoch, "batch_size": 64, "steps_per_call": 10})
  config.z_prior = "normal"
  config.game.update({"order": "alternating", "fakes": "shared", "d_loss_scale": 0.5})
  config.generator = {
    "name": "tapered_mlp",
    "widths": (128, 256, 512, 1024),
    "slope": 0.2,
    "bn_momentum": 0.9,
    "bn_epsilon": 0.8,
  }
  config.discriminator = {"name": "tapered_mlp", "widths": (512, 256), "slope": 0.2}
  config.generator_optim = config.discriminator_optim = recipes.adam(2e-4, b1=0.5)
