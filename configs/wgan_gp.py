"""WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028): a Wasserstein critic kept 1-Lipschitz by a gradient penalty.

Recipe: Algorithm 1: five critic updates a step, gradient penalty 10, Adam 1e-4 with beta1 0 and beta2 0.9, batch 64,
fresh latents for the generator, no BatchNorm in the critic; z of 128 from N(0, I), images in [-1, 1]. The networks are
DCGAN's, as in the authors' convolutional CIFAR-10 run (igul222/improved_wgan_training, gan_cifar.py). That run has
beta1 0.5, a width of 128 (here 64), which it says overfits, 5x5 kernels (here 4x4), He's initial weights (here N(0,
0.02)) and 200,000 steps (here 20,000). ``resnet`` is their unconditional CIFAR-10 ResNet (gan_cifar_resnet.py without
its labels): SNGAN's blocks with BatchNorm in G and none in D, 128 wide in both, a mean over D's pixels, Adam 2e-4
falling linearly to 0 over 100,000 steps, batch 64, twice that for G, images with noise of one grey level, all 50,000
(cifar10 only; the smaller sets are 64 wide and train 10,000 steps). There G moves before D's five updates of a round,
D's logit has a bias, and pictures are not drawn with running BatchNorm statistics.

Number to expect: cifar10,resnet: inception score 7.86 +- 0.07 (Table 3, recalled, unverified); not measured. The paper
has no number for the other networks. Lucic et al. 2018, Table 2: FID 20.3 +- 5.0 on MNIST, 24.5 +- 2.1 on Fashion-MNIST
and 55.8 +- 0.9 on CIFAR-10 with InfoGAN's networks after a search (10,000 images; configs/lucic2018.py), on whole
training sets (here --config.data.train_split=train). -d_loss estimates the Wasserstein distance, and should fall slowly
once it has risen.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10 (32x32), resnet, tiny.
Command: python -m experiments.train --config=configs/wgan_gp.py:fashion_mnist --workdir=runs/wgan_gp
Time: not measured; --check tells. resnet is work for an accelerator.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  if "resnet" in argument.split(","):
    return _resnet(argument)
  config, _, words = recipes.gan(argument, ("resnet",), num_steps=20000)
  config.z_dim = 128
  config.game.n_critic = 5
  recipes.use_dcgan(config, batch_norm=False)
  recipes.use_wasserstein(config)
  config.generator_optim = config.discriminator_optim = recipes.adam(1e-4, b1=0.0, b2=0.9)
  return recipes.finish(config, words, **recipes.NARROW)


def _resnet(argument: str) -> ConfigDict:
  config, dataset, words = recipes.residual(argument, ("resnet",))
  if dataset == "cifar10":
    config.train.num_steps = 100000
    config.generator.width = 128
  config.generator.bn_epsilon = 1e-5
  config.discriminator.update({"spectral_norm": False, "pool": "mean"})
  recipes.use_wasserstein(config)
  return recipes.finish(config, words, **recipes.NARROW)
