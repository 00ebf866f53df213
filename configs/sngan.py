"""SNGAN (Miyato et al. 2018, arXiv:1802.05957): residual networks, spectral normalization of D, hinge loss.

Recipe: the authors' unconditional CIFAR-10 run (pfnet-research/sngan_projection): five discriminator updates a step,
Adam 2e-4 with beta1 0 and beta2 0.9, falling linearly to 0 over 50,000 generator updates, batch 64, twice that for G,
z of 128 from N(0, I), images in [-1, 1] with noise of one grey level, one power iteration in each D update. cifar10 has
their widths, 256 in G and 128 in D, and all 50,000 training images (5,000 of them serve as validation too, but choose
nothing). The smaller sets have a width of 64 in both, 10,000 steps and no noise. There G moves before D's five updates
of a round, here after them. ``quick`` is for two CPU cores: a width of 32, one discriminator update a step, 5,000 steps
and a learning rate of 1e-3, since weights of a narrower network start larger.

Number to expect: Table 2, CIFAR-10, unconditional, residual networks, hinge loss: inception score 8.22 +- 0.05 and FID
21.7 +- 0.21 (10,000 samples against 5,000 images, as Mimicry says of it). Mimicry reports 16.8 at 50,000 against
50,000. Not measured here. fashion_mnist,quick: a Frechet distance of 41.3 by the classifier of experiments/RESULTS.md,
10,000 samples against the 10,000 test images, where DCGAN has 64.6 after as many steps; cifar10,quick: 35.5, where
DCGAN has 43.6.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10 (32x32), quick, tiny.
Command: python -m experiments.train --config=configs/sngan.py:cifar10 --workdir=runs/sngan
Time: fashion_mnist 4 to 5 s a step on one core beside other work, quick about 0.8 s (70 minutes in all); cifar10 is
work for an accelerator.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.residual(argument, ("quick",))
  return recipes.finish(config, words, **recipes.NARROW)
