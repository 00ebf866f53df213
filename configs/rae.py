"""Regularized autoencoders (Ghosh et al. 2020, arXiv:1903.12436): no noise in the encoder, a smooth decoder, and a
density of the latents that is fitted afterwards (`experiments.fit_sampler`, ten Gaussians in the paper).

Recipe: the InfoGAN-style network of Lucic et al. 2018, z of 16, squared error summed over pixels, |z|^2 / 2 at 1e-4,
Adam 1e-3, batch 100, 20 epochs; ``l2``: the decoder's squared weights at 1e-6, ``gradient``: the slope of the decoder
at 1e-6. ``vae`` is the VAE beside them: the same network and squared error with q(z|x) Gaussian and N(0, I) as its
prior. The paper's network has four convolutions of 128 to 1,024 channels with BatchNorm and trains 100 epochs.

Number to expect: FID on MNIST by ten Gaussians, from the configs of the paper's code: RAE 9.81, RAE-L2 8.69, RAE-GP
11.54, AE 10.66, VAE 17.66. The scores of this code on Fashion-MNIST: experiments/RESULTS.md, where they are measured.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10, l2, gradient, vae, tiny.
Command: python -m experiments.train --config=configs/rae.py:fashion_mnist --workdir=runs/rae
Time: fashion_mnist at half its width 1,900 images/s on one core of a newer Xeon (``vae`` 1,500).
"""

from ml_collections import ConfigDict

from configs import base

DATASETS = ("digits", "fashion_mnist", "mnist", "cifar10")
MODELS = ("l2", "gradient", "vae")


def get_config(argument: str = "") -> ConfigDict:
  dataset, words = base.variants(argument, DATASETS, MODELS)
  chosen = sorted(words & set(MODELS))
  if len(chosen) > 1:
    raise ValueError(f"variants {' and '.join(chosen)} are different models; take one")
  model = chosen[0] if chosen else "none"
  config = base.get_config()
  base.use_vae(config)
  base.use_grey_images(config, dataset, batch_size=100, tiny="tiny" in words)
  config.model = {"name": "infogan", "z_dim": 16, "width": 64, "hidden": 1024, "bn_momentum": 0.9, "bn_epsilon": 1e-5}
  config.likelihood = {"name": "gaussian", "sigma": 0.5**0.5}
  if model == "vae":
    config.objective = {"name": "elbo", "beta": 1.0}
    config.checkpoint.update({"keep_best": "elbo", "best_mode": "max"})
  else:
    config.posterior = {"name": "deterministic"}
    config.prior = {"name": "none"}
    config.objective = {"name": "rae", "z_weight": 1e-4, "regularizer": model, "weight": 1e-6}
  config.optim = {"name": "adam", **base.ADAM}
  if "tiny" in words:
    base.shrink(config)
    config.model.update({"width": 8, "hidden": 16})
  return base.finish(config)
