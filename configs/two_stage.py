"""The first stage of the two-stage VAE (Dai & Wipf 2019, arXiv:1903.05789): grey values under a Gaussian with one
learned deviation, so that the decoder's noise goes to 0; the second stage is a VAE of the latents
(`samplers:two_stage`).

Recipe of the authors' code: the InfoGAN-style network of Lucic et al. 2018 with BatchNorm of decay 0.999 and epsilon
1e-5, z of 64, q(z|x) with the deviation 1e-6 + softplus, batch 64, Adam 1e-4. Not as there: the encoder has no spectral
normalization; 20 epochs, where they have 400 with the learning rate halved after every 150; 50,000 training images of
60,000; layers before BatchNorm have no bias, which it would take away.

Number to expect: FID on Fashion-MNIST (recalled, unverified; Inception, 10,000 samples): 29.3 +- 1.0 with the second
stage, 60.0 without.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10, tiny.
Command: python -m experiments.train --config=configs/two_stage.py:fashion_mnist --workdir=runs/two_stage
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.vae(argument, protocol=recipes.use_grey_images, batch_size=64)
  batch_norm = {"bn_momentum": 0.999, "bn_epsilon": 1e-5}
  config.model = {"name": "infogan", "z_dim": 64, "width": 64, "hidden": 1024, **batch_norm}
  config.posterior = {"name": "diagonal_gaussian", "softplus": True}
  config.likelihood = {"name": "shared_gaussian"}
  config.checkpoint.update({"keep_best": "elbo", "best_mode": "max"})  # distortion falls with the deviation
  config.optim = recipes.adam(1e-4)
  return recipes.finish(config, words, model={"width": 8, "hidden": 16})
