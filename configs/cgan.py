"""Conditional Generative Adversarial Nets (Mirza & Osindero 2014, arXiv:1411.1784): both players see the label.

Recipe: the paper's text (its authors' code is not public): rectifiers in G, maxout and dropout in D, SGD at 0.1 divided
by 1.00004 at each update, down to 1e-6, momentum from 0.5 to 0.7, batch 100, z of 100 from U[-1, 1), images in [0, 1];
the rest as in configs/gan.py. In the paper z and label have layers of their own before they meet, of 200 and 1,000
units in G (then 1,200) and of 240 and 50 maxout units of 5 pieces in D (then 240 of 4); here both enter two equal
layers. There G has dropout of 0.5 too, z comes from the unit hypercube, and the best validation likelihood ends a run.

``dcgan`` is the conditional DCGAN of Radford et al. 2015: Adam 2e-4 with beta1 0.5, batch 128, z of 100 from U[-1, 1),
15,000 steps. Their MNIST code (Newmu/dcgan_code) has other networks, of two strided convolutions and layers of 1,024,
the label at every layer, images in [0, 1], weight decay of 2.5e-5, a batch of its own for each player's update, and a
rate that falls to 0 in the last 100 of 200 epochs (39,000 updates of each player).

Number to expect: Table 1, MNIST, Parzen-window log-likelihood of the test images under 1,000 samples a class, 132 +-
1.8 nats, below the unconditional 225. For the conditional DCGAN (a table of Radford et al. whose number is not
verified): error on real images of a nearest neighbour among 50,000 samples 2.98 %, 6.28 % for a plain GAN, 3.1 % among
50,000 real images (recalled, unverified); here the metric nearest_neighbour_error.

Variants: digits (the default; with dcgan at 16x16), fashion_mnist, mnist, cifar10, dcgan, tiny.
Command: python -m experiments.train --config=configs/cgan.py:fashion_mnist,dcgan --workdir=runs/cgan
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes, schema


def get_config(argument: str = "") -> ConfigDict:
  if "dcgan" in argument.split(","):
    return _dcgan(argument)
  dataset, words = recipes.variants(argument, recipes.ALL, ("dcgan",))
  config = schema.get_config("gan")
  recipes.use_dataset(config, dataset, tiny="tiny" in words)
  recipes.use_perceptrons(config, dataset, decay=1.00004)
  if dataset == "digits":
    config.train.num_steps = 1500
  _common(config, dataset)
  return recipes.finish(config, words, generator={"width": 32}, discriminator={"width": 16})


def _dcgan(argument: str) -> ConfigDict:
  config, dataset, words = recipes.gan(argument, ("dcgan",), num_steps=15000, batch_size=128)
  recipes.use_dcgan(config)
  config.generator_optim = config.discriminator_optim = recipes.adam(2e-4, b1=0.5)
  _common(config, dataset)
  return recipes.finish(config, words, **recipes.NARROW)


def _common(config: ConfigDict, dataset: str) -> None:
  recipes.set_every(config, log=100, rest=500 if dataset == "digits" else 5000)
  config.z_dim = 100
  config.z_prior = "uniform"
  config.conditioning = {"name": "concat"}
