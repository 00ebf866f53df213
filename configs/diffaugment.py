"""DiffAugment (Zhao et al. 2020, arXiv:2006.10738): what D sees, real and generated, is coloured, moved and cut.

Recipe: SNGAN's residual networks, spectral normalization in D, hinge loss, five discriminator updates a step, Adam
2e-4 with beta1 0 and beta2 0.9, falling in a straight line to 0, batch 64, z of 128 from N(0, I), images in [-1, 1];
before D colour, translation by 1/8 and cutout of 1/2, in the updates of both players. Not copied: the paper's
networks, BigGAN and StyleGAN2, both conditional on CIFAR-10. A tenth of the data, the paper's case, is
--config.data.train_split='train[:4500]' on cifar10.

Number to expect: with BigGAN on CIFAR-10, FID of 10,000 samples against the 10,000 test images: 9.59 -> 8.70 on all
images, 21.58 -> 14.04 on a fifth, 39.78 -> 22.40 on a tenth (the page of the authors' code; that it is
Table 2: recalled, unverified). What carries over is the direction: more, the fewer images there are.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10 (32x32), tiny.
Command: python -m experiments.train --config=configs/diffaugment.py:cifar10 --workdir=runs/diffaugment
Time: not measured; --check tells. cifar10 is work for an accelerator.
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
  config.train.update({"num_steps": {"digits": 1500, "cifar10": 50000}.get(dataset, 10000), "batch_size": 64})
  base.set_every(config, log=50, rest=500)

  config.z_dim = 128
  config.n_critic = 5
  full_size = dataset == "cifar10"
  config.generator = {"name": "resnet", "width": 256 if full_size else 64, "bn_momentum": 0.9, "bn_epsilon": 2e-5}
  config.discriminator = {"name": "resnet", "width": 128 if full_size else 64, "spectral_norm": True}
  config.augment = {"name": "diffaugment", "policy": ("color", "translation", "cutout")}
  config.loss = {"name": "hinge"}
  steps = config.train.get_ref("num_steps")  # what is computed of it follows it; by itself it would also set it
  config.generator_optim, config.discriminator_optim = (
    {
      "name": "adam",
      "learning_rate": {"name": "linear", "start": 2e-4, "end": 0.0, "steps": turns * steps},
      "b1": 0.0,
      "b2": 0.9,
      "eps": 1e-8,
    }
    for turns in (1, config.get_ref("n_critic"))
  )
  if "tiny" in words:
    base.shrink(config)
    config.generator.width = config.discriminator.width = 8
  return base.finish(config)
