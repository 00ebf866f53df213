"""LSGAN (Mao et al. 2017, arXiv:1611.04076): least squares in place of the sigmoid cross-entropy.

Recipe: targets of 0 for generated and 1 for real images in D's loss and 1 in G's (Eq. 9; ``pearson``: -1, 1 and 0, Eq.
8); as the authors' code (xudonmao/LSGAN) trains handwritten characters, Adam 2e-4 with beta1 0.5 (1e-3 for scenes),
batch 64 and z from U[-1, 1), the same for D's update and G's. Their networks are for 112x112 pixels in [0, 1] and z of
1,024; here they are DCGAN's, as code bases train it, for images in [-1, 1] and z of 100.

Number to expect: the paper has pictures only. Lucic et al. 2018, Table 2, InfoGAN's networks after a search, FID of
10,000 samples (see configs/lucic2018.py): Fashion-MNIST 30.7 +- 2.2, MNIST 7.8 +- 0.6, CIFAR-10 87.1 +- 47.5.
StudioGAN's CIFAR-10 run reached 66.7 at 22,000 steps and ended at 331: this loss is known to collapse late. They train
on whole training sets, as --config.data.train_split=train does here.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10 (32x32), pearson, tiny.
Command: python -m experiments.train --config=configs/lsgan.py:fashion_mnist --workdir=runs/lsgan
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.gan(argument, ("pearson",))
  config.z_dim = 100
  config.z_prior = "uniform"
  config.game.fakes = "shared"
  recipes.use_dcgan(config)
  a, b, c = (-1.0, 1.0, 0.0) if "pearson" in words else (0.0, 1.0, 1.0)
  config.loss = {"name": "least_squares", "a": a, "b": b, "c": c}
  config.generator_optim = config.discriminator_optim = recipes.adam(2e-4, b1=0.5)
  return recipes.finish(config, words, **recipes.NARROW)
