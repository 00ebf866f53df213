"""DiffAugment (Zhao et al. 2020, arXiv:2006.10738): the images that D sees, real and generated, are moved and cut.

Recipe: the authors' CIFAR-10 scripts (mit-han-lab/data-efficient-gans, DiffAugment-biggan-cifar): before D translation
by 1/8 and cutout of 1/2, no colour, in the updates of both players; real images mirrored half of the time; hinge loss,
four discriminator updates a step, Adam 2e-4 with beta1 0 and beta2 0.999, batch 50, conditional BatchNorm in G and a
projection in D, z of 128 from N(0, I), images in [-1, 1]; on cifar10 all 50,000 training images (5,000 of them serve
as validation too, but choose nothing), 250,000 steps and averaged weights (from step 1,000) of decay 0.9999. A
tenth of the data is --config.data.train_split='train[:5000]' --config.train.num_steps=125000 (theirs are 5,000 drawn at
random). The networks are SNGAN's blocks at the width of their BigGAN, 256 in both. There G has spectral normalization,
initial weights come from N(0, 0.02) (here Glorot's), and generated images do not bear the labels of the batch's real
ones. The smaller sets have a width of 64, raw weights and no mirrored images.

Number to expect: FID of 10,000 samples against the 10,000 test images, at the checkpoint where that was best: without
and with the augmentation 9.59 and 8.70 on all images, 21.58 and 14.04 on a fifth, 39.78 and 22.40 on a tenth (the page
of the authors' code). Not measured here.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10 (32x32), tiny.
Command: python -m experiments.train --config=configs/diffaugment.py:cifar10 --workdir=runs/diffaugment
Time: not measured; --check tells. cifar10 is work for an accelerator.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, dataset, words = recipes.residual(argument)
  config.train.batch_size = 50
  config.conditioning = {"name": "projection", "generator": "class_batch_norm"}
  config.augment = {"name": "diffaugment", "policy": ("translation", "cutout")}
  config.game.update({"n_critic": 4, "generator_batches": 1})
  config.generator.bn_epsilon = 1e-5
  config.generator_optim = config.discriminator_optim = recipes.adam(2e-4, b1=0.0)
  if dataset == "cifar10":
    config.data.update({"dequantize": False, "flip": True})
    config.ema.update({"decay": 0.9999, "warmup": 0.0, "start": 1000})
    config.train.num_steps = 250000
    config.discriminator.width = 256
  return recipes.finish(config, words, **recipes.NARROW)
