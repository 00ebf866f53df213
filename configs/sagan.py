"""SAGAN (Zhang et al. 2019, arXiv:1805.08318): self-attention, spectral normalization of both players, two rates.

Recipe: hinge loss, one update of each player a step, Adam with beta1 0 and beta2 0.9 (the authors' code,
brain-research/self-attention-gan, leaves beta2 at 0.999), 1e-4 for G and 4e-4 for D, batch 256, z of 128 from N(0, I),
BatchNorm with a scale and a bias for each label in G, but for the last, which is plain, a projection in D, and
attention in both behind blocks of 32x32. Here images have 32x32 pixels (digits: 16x16), not 128x128, and attention
is at half the size; generated ones bear the labels of the batch's real ones, where the authors draw them; the last
BatchNorm's running statistics have the decay of the others, 0.999, not 0.9999; and the smaller sets have batch 64,
widths of 32, not 64, and a decay of 0.9.

Number to expect: ImageNet 128x128, inception score 52.52 and FID 18.65 (abstract; that it is Table 2, after 1,000,000
steps: recalled, unverified). StudioGAN's CIFAR-10 run (other widths, five D updates a step): 8.64 and 10.35, 50,000
against the 50,000 train images (cifar10 here trains on 45,000, on all with --config.data.train_split=train).

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10 (32x32), tiny.
Command: python -m experiments.train --config=configs/sagan.py:cifar10 --workdir=runs/sagan
Time: not measured; --check tells. cifar10 is work for an accelerator.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, dataset, words = recipes.gan(argument)
  full_size = dataset == "cifar10"
  if full_size:
    config.train.update({"num_steps": 100000, "batch_size": 256})
  config.z_dim = 128
  config.conditioning = {"name": "projection", "generator": "class_batch_norm"}
  sizes = {"width": 64 if full_size else 32, "attention_size": config.data.image_size // 2}
  config.discriminator = {"name": "sagan", **sizes, "spectral_norm": True}
  config.generator = {**config.discriminator, "bn_momentum": 0.999 if full_size else 0.9, "bn_epsilon": 1e-5}
  config.loss = {"name": "hinge"}
  config.generator_optim, config.discriminator_optim = (recipes.adam(rate, b1=0.0, b2=0.9) for rate in (1e-4, 4e-4))
  return recipes.finish(config, words, **recipes.NARROW)
