"""DCGAN (Radford et al. 2015, arXiv:1511.06434): 64x64 as in the paper's Figure 1, and 32x32.

Recipe: Adam 2e-4, beta1 0.5, batch 128, z of 100 from U[-1, 1), images in [-1, 1], weights from N(0, 0.02), and the
rules in gan/networks/dcgan.py. celeba64 has the paper's widths (1024-512-256-128) and 5x5 kernels; the smaller sets
have 256-128-64, 4x4 kernels and batch 64, the form that most code bases train. The authors' code for faces
(Newmu/dcgan_code) differs: weight decay of 1e-5, the players updated by turns on a batch each, no biases in the first
and the last convolution and in D's logit, BatchNorm's epsilon 1e-8 (here 1e-5), pictures not drawn with running
statistics, and 25 epochs of 350,000 pictures.

Number to expect: the paper has no sample score. Its CIFAR-10 figure, 82.8 % by a linear classifier on D's features
(recalled, unverified), needs a D trained on ImageNet; on Fashion-MNIST its own D's give 91.2 % (the network as
initialised 89.6 %, pixels 84.0 %; experiments/RESULTS.md). cifar10: a Frechet distance of 43.6 by our classifier.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10 (32x32), celeba64, tiny.
Command: python -m experiments.train --config=configs/dcgan.py:fashion_mnist --workdir=runs/dcgan
Time: fashion_mnist 20 minutes on 2 CPU cores by --check (271 images/s).
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, dataset, words = recipes.gan(argument, datasets=(*recipes.ALL, "celeba64"), num_steps=5000)
  config.z_dim = 100
  config.z_prior = "uniform"
  recipes.use_dcgan(config)
  if dataset == "celeba64":
    config.train.batch_size = 128
    recipes.use_dcgan(config, width=128, kernel_size=5)
  config.generator_optim = config.discriminator_optim = recipes.adam(2e-4, b1=0.5)
  return recipes.finish(config, words, **recipes.NARROW)
