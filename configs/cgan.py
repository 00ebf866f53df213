"""Conditional Generative Adversarial Nets (Mirza & Osindero 2014, arXiv:1411.1784): the label is an input of both.

Recipe: the paper's text (its authors' code is not public): rectifiers in G, maxout and dropout in D, SGD at 0.1 falling
by 1.00004 an update to 1e-6, momentum 0.5 -> 0.7, batch 100, z of 100 from U[-1, 1), images in [0, 1]; the rest as in
configs/gan.py. The paper's networks differ: z and label have layers of their own before they meet, of 200 and 1,000
units in G (then 1,200) and 240 and 50 maxout units of 5 pieces in D (then 240 of 4), where here both meet at the input
of two equal layers; dropout of 0.5 in G too, here in D only; z from the unit hypercube; the best validation likelihood
ends the run. ``dcgan``: the conditional DCGAN of Radford et al. 2015, Adam 2e-4 with beta1 0.5, batch 128, z of 100
from U[-1, 1). Their MNIST code (Newmu/dcgan_code) has other networks, of two strided convolutions and layers of 1,024,
the label at every layer and not at the input alone, images in [0, 1], weight decay of 2.5e-5, a batch of its own for
each player's update, and a rate that falls to 0 in the last 100 of 200 epochs.

Number to expect: Table 1, MNIST, Parzen-window log-likelihood of the test images under 1,000 samples a class, 132 +-
1.8 nats, below the unconditional 225. Of the conditional DCGAN (a table of Radford et al. whose number is not
verified): error on real images of a nearest neighbour of 50,000 samples 2.98 %, 6.28 % for a plain GAN, 3.1 % of 50,000
real images (recalled, unverified); here the metric nearest_neighbour_error.

Variants: digits (the default; with dcgan at 16x16), fashion_mnist, mnist, cifar10, dcgan, tiny.
Command: python -m experiments.train --config=configs/cgan.py:fashion_mnist,dcgan --workdir=runs/cgan
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes, schema


def get_config(argument: str = "") -> ConfigDict:
  dataset, words = recipes.variants(argument, recipes.ALL, ("dcgan",))
  config = schema.get_config("gan")
  size = recipes.SIZES[dataset] if "dcgan" in words else 0
  recipes.use_dataset(config, dataset, image_size=size, tiny="tiny" in words)
  recipes.set_every(config, log=100, rest=500 if dataset == "digits" else 5000)
  config.z_dim = 100
  config.z_prior = "uniform"
  config.conditioning = {"name": "concat"}
  if "dcgan" in words:
    _dcgan(config)
  else:
    _perceptrons(config, updates_per_epoch={"digits": 14, "cifar10": 450}.get(dataset, 500))
  if dataset == "digits":
    config.train.num_steps = 1500
  of_g, of_d = (8, 8) if "dcgan" in words else (32, 16)
  return recipes.finish(config, words, generator={"width": of_g}, discriminator={"width": of_d})


def _perceptrons(config: ConfigDict, updates_per_epoch: int) -> None:
  """The paper's players, 250 epochs."""
  config.train.update({"num_steps": 250 * updates_per_epoch, "batch_size": 100})
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
  config.generator_optim = config.discriminator_optim = {
    "name": "sgd",
    "learning_rate": {"name": "exponential", "start": 0.1, "factor": 1 / 1.00004, "floor": 1e-6},
    "momentum": {"name": "linear", "start": 0.5, "end": 0.7, "steps": 250 * updates_per_epoch},
  }


def _dcgan(config: ConfigDict) -> None:
  """Radford et al.'s, 15,000 steps (theirs: 200 epochs of 50,000 images, 39,000 updates of each player)."""
  config.data.pixel_range = (-1.0, 1.0)
  config.train.update({"num_steps": 15000, "batch_size": 128})
  recipes.use_dcgan(config)
  config.generator_optim = config.discriminator_optim = recipes.adam(2e-4, b1=0.5)
