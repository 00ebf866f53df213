"""AC-GAN (Odena et al. 2017, arXiv:1610.09585): D names the label of an image too, and both players want it right.

Recipe: cross-entropy of the label, on real and on generated images, with weight 1 in both losses; Adam 2e-4 with beta1
0.5, batch 100, z of 110 from N(0, I) with the label beside it, images in [-1, 1], non-saturating loss: the paper's
text, since no code of its authors is public. The networks are DCGAN's; the paper has its own, of six convolutions with
dropout and noise in D. ``gulrajani`` takes weights of 1 and 0.1, the first on real images only, and nothing else from
the code of WGAN-GP (igul222/improved_wgan_training, gan_cifar_resnet.py).

Number to expect: CIFAR-10, inception score 8.25 +- 0.07, which Table 3 of Gulrajani et al. 2017 quotes (the paper has
it in its text: recalled, unverified). StudioGAN could not reproduce it (7.33, FID 31.7), and its run ended collapsed:
AC-GAN prefers images that are easy to name, at the cost of variety. Both train on 50,000 images; cifar10 here trains on
45,000, on all with --config.data.train_split=train.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10 (32x32), gulrajani, tiny.
Command: python -m experiments.train --config=configs/acgan.py:fashion_mnist --workdir=runs/acgan
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.gan(argument, ("gulrajani",), batch_size=100)
  config.z_dim = 110
  odena = "gulrajani" not in words
  weights = {"weight_d": 1.0, "weight_g": 1.0 if odena else 0.1}
  config.conditioning = {"name": "auxiliary", "generator": "concat", **weights, "name_fakes": odena}
  recipes.use_dcgan(config)
  config.generator_optim = config.discriminator_optim = recipes.adam(2e-4, b1=0.5)
  return recipes.finish(config, words, **recipes.NARROW)
