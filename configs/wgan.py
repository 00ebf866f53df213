"""WGAN (Arjovsky et al. 2017, arXiv:1701.07875): a Wasserstein critic whose weights are clipped.

Recipe: Algorithm 1 and the authors' code: RMSprop 5e-5 for both, five critic updates a step, and 100 before each of G's
first 25 updates and before every 500th; weights and biases clipped to [-0.01, 0.01]; batch 64, z of 100 from N(0, I),
images in [-1, 1], DCGAN's networks with BatchNorm, fresh latents for G. That code (martinarjovsky/WassersteinGAN) clips
before each critic update, which differs from Algorithm 1 and this in the very first and the last only; its first and
last convolutions lack biases; it trains 25 epochs on 64x64 images of LSUN.

Number to expect: the paper has pictures and curves only: -d_loss estimates the Wasserstein distance up to a constant
factor, and falls while pictures improve. Lucic et al. 2018, Table 2, InfoGAN's networks after a search, FID of 10,000
samples (see configs/lucic2018.py): Fashion-MNIST 21.5 +- 1.6, MNIST 6.7 +- 0.4, CIFAR-10 55.2 +- 2.3, on whole training
sets (here --config.data.train_split=train).

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10 (32x32), tiny.
Command: python -m experiments.train --config=configs/wgan.py:fashion_mnist --workdir=runs/wgan
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  # G's first 25 updates take 25 * 20 of these rounds, and every 500th update takes 19 more than the others.
  config, dataset, words = recipes.gan(argument, num_steps=20000)
  if dataset == "digits":
    config.train.num_steps = 3000
  config.z_dim = 100
  config.game.update({"n_critic": 5, "warmup": 100, "warmup_first": 25, "warmup_every": 500})
  recipes.use_dcgan(config)
  config.loss = {"name": "wasserstein"}
  rmsprop = {"name": "rmsprop", "learning_rate": 5e-5, "decay": 0.99, "eps": 1e-8}
  config.generator_optim = rmsprop
  config.discriminator_optim = {**rmsprop, "weight_clip": 0.01}
  return recipes.finish(config, words, **recipes.NARROW)
