"""WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028): a Wasserstein critic kept 1-Lipschitz by a gradient penalty.

Recipe: Algorithm 1: five critic updates a step, gradient penalty 10, Adam 1e-4 with beta1 0 and beta2 0.9, batch 64,
fresh latents for the generator, no BatchNorm in the critic; z of 128 from N(0, I), images in [-1, 1]. The networks are
those of gan/networks/dcgan.py, as in the authors' convolutional CIFAR-10 run (width 64 in place of 128, which they say
overfits; 4x4 kernels in place of 5x5; weights from N(0, 0.02) in place of He's); that run has beta1 0.5.

Number to expect: none of the paper is of these networks; its CIFAR-10 inception score of 7.86 +- 0.07 (Table 3)
needs the ResNet. Lucic et al. 2018, Table 2, found an FID of 20.3 +- 5.0 on MNIST, 24.5 +- 2.1 on Fashion-MNIST and
55.8 +- 0.9 on CIFAR-10 with InfoGAN's networks after a search (10,000 images; configs/lucic2018.py). -d_loss estimates
the Wasserstein distance, and should fall slowly once it has risen.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10 (32x32), tiny.
Command: python -m experiments.train --config=configs/wgan_gp.py:fashion_mnist --workdir=runs/wgan_gp
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import base

IMAGE_SIZE = {"digits": 16, "fashion_mnist": 32, "mnist": 32, "cifar10": 32}


def get_config(argument: str = "") -> ConfigDict:
  dataset, words = base.variants(argument, IMAGE_SIZE)
  config = base.get_config()
  base.use_gan(config)
  base.use_dataset(config, dataset, image_size=IMAGE_SIZE[dataset], tiny="tiny" in words)
  config.data.pixel_range = (-1.0, 1.0)
  config.train.update({"num_steps": 1500 if dataset == "digits" else 20000, "batch_size": 64})
  base.set_every(config, log=50, rest=500)

  config.z_dim = 128
  config.n_critic = 5
  network = {"name": "dcgan", "width": 64, "kernel_size": 4}
  config.generator = {**network, "bn_momentum": 0.9, "bn_epsilon": 1e-5}
  config.discriminator = {**network, "slope": 0.2, "batch_norm": False}
  config.loss = {"name": "wasserstein"}
  config.penalties = {"gradient_penalty": {"weight": 10.0, "target": 1.0}}
  config.generator_optim = config.discriminator_optim = {
    "name": "adam",
    "learning_rate": 1e-4,
    "b1": 0.0,
    "b2": 0.9,
    "eps": 1e-8,
  }
  if "tiny" in words:
    base.shrink(config)
    config.generator.width = config.discriminator.width = 8
  return base.finish(config)
