"""DRAGAN (Kodali et al. 2017, arXiv:1705.07215): a gradient penalty around real images, and the non-saturating loss.

Recipe: the authors' code (kodalinaveen3/DRAGAN): lambda 10, norm 1, noise of half the pixels' standard deviation; Adam
1e-4 with beta1 0.5 and beta2 0.9, one update of D a step, batch 128, z of 100 from U[-1, 1). Theirs are perceptrons of
one hidden layer of 128 units, for MNIST in [0, 1], 200,000 steps; here DCGAN's networks, with BatchNorm in G only (D
must not see the batch under a penalty on its gradient), images in [-1, 1] and 15,000 steps.

Number to expect: Lucic et al. 2018, Table 2, InfoGAN's networks after a search, FID of 10,000 samples (see
configs/lucic2018.py): Fashion-MNIST 27.7 +- 1.2, MNIST 7.6 +- 0.4, CIFAR-10 69.8 +- 2.0. StudioGAN's CIFAR-10 run
reached 41.6 at 16,000 steps and ended at 65.2 (10,000 test images). They train on whole training sets, as
--config.data.train_split=train does here.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10 (32x32), tiny.
Command: python -m experiments.train --config=configs/dragan.py:fashion_mnist --workdir=runs/dragan
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.gan(argument, num_steps=15000, batch_size=128)
  config.z_dim = 100
  config.z_prior = "uniform"
  recipes.use_dcgan(config, batch_norm=False)
  config.penalties = {"dragan": {"weight": 10.0, "target": 1.0, "spread": 0.5}}
  config.generator_optim = config.discriminator_optim = recipes.adam(1e-4, b1=0.5, b2=0.9)
  return recipes.finish(config, words, **recipes.NARROW)
