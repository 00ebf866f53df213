"""cGANs with Projection Discriminator (Miyato & Koyama 2018, arXiv:1802.05637): SNGAN with labels.

Recipe: the authors' conditional CIFAR-10 run (pfnet-research/sngan_projection): configs/sngan.py, where BatchNorm in G
has a scale and a bias for each label, but for the last, which is plain, and the inner product of D's features and an
embedding of the label is added to D's logit, with spectral normalization on the embedding too. Generated images bear
the labels of the batch's real ones; the authors draw them.

Number to expect: CIFAR-10, inception score 8.62 and FID 17.5 (10,000 samples against 5,000 images, as Mimicry says of
it; a table of the appendix, its number not verified). By this protocol Mimicry reports 8.25 and 17.84, and 10.84 at
50,000 against 50,000.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10 (32x32), tiny.
Command: python -m experiments.train --config=configs/projection.py:cifar10 --workdir=runs/projection
Time: not measured; --check tells. cifar10 is work for an accelerator.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.residual(argument)
  config.conditioning = {"name": "projection", "generator": "class_batch_norm"}
  return recipes.finish(config, words, **recipes.NARROW)
