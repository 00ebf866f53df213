"""InfoVAE (Zhao et al. 2017, arXiv:1706.02262): the MMD of aggregate posterior and prior replaces part of the rate.

Recipe: the InfoGAN-style network of Lucic et al. 2018, z of 16, Bernoulli pixels that are drawn anew, alpha 0 and
lambda 1,000 with the Gaussian kernel, Adam 1e-3, batch 100, 20 epochs. ``mmd``: alpha 1, no rate at all. The first
author's public code of the latter (MMD-Variational-Autoencoder) has that kernel, Adam and the network without
BatchNorm; unlike here, q(z|x) is a point, the error is squared, z has 20 units, the batch 200 images, the estimate of
the MMD is biased, and the weight would be 784 beside an error summed over 28x28 pixels.

Number to expect: none is published for this network, and this code's is not measured.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10, mmd, tiny.
Command: python -m experiments.train --config=configs/info_vae.py:fashion_mnist --workdir=runs/info_vae
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.vae(argument, ("mmd",), batch_size=100)
  config.model = {"name": "infogan", "z_dim": 16, "width": 64, "hidden": 1024, "bn_momentum": 0.9, "bn_epsilon": 1e-5}
  config.objective = {"name": "info_vae", "alpha": float("mmd" in words), "weight": 1000.0, "kernel": "gaussian"}
  config.optim = recipes.adam(1e-3)
  return recipes.finish(config, words, model={"width": 8, "hidden": 16})
