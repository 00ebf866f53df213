"""DiffAugment (Zhao et al. 2020, arXiv:2006.10738): what D sees, real and generated, is coloured, moved and cut.

Recipe: SNGAN's residual networks, spectral normalization in D, hinge loss, five discriminator updates a step, Adam
2e-4 with beta1 0 and beta2 0.9, falling in a straight line to 0, batch 64, z of 128 from N(0, I), images in [-1, 1];
before D colour, translation by 1/8 and cutout of 1/2, in the updates of both players. Not copied: the paper's
networks, BigGAN and StyleGAN2, both conditional on CIFAR-10. A tenth of the data, the paper's case, is
--config.data.train_split='train[:4500]' on cifar10.

Number to expect: with BigGAN on CIFAR-10, FID of 10,000 samples against the 10,000 test images: 9.59 -> 8.70 on all
images, 21.58 -> 14.04 on a fifth, 39.78 -> 22.40 on a tenth (Table 2; recalled, unverified). What carries over is the
direction: more, the fewer images there are.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10 (32x32), tiny.
Command: python -m experiments.train --config=configs/diffaugment.py:cifar10 --workdir=runs/diffaugment
Time: not measured; --check tells. cifar10 is work for an accelerator.
"""

from ml_collections import ConfigDict

from configs import sngan


def get_config(argument: str = "") -> ConfigDict:
  config = sngan.get_config(argument)
  with config.unlocked():
    config.augment = {"name": "diffaugment", "policy": ("color", "translation", "cutout")}
  return config
