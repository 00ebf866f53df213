"""Inverse autoregressive flow (Kingma et al. 2016, arXiv:1606.04934) as posterior, and planar flows (Rezende & Mohamed
2015, arXiv:1505.05770).

Recipe: this code's own. 784-300-300-z40 with gated layers as in configs/vampprior.py, two steps of masked networks with
two hidden layers of 320 units, context of 80; Adam 1e-3, batch 100, 20 epochs. ``planar``: ten planar flows instead.
The authors' public code has one model only, the one behind the paper's CIFAR-10 figures: a ResNet of many stochastic
layers with one masked convolutional step each, Adamax and free bits. So there is no cifar10 here.

Number to expect: for static MNIST an independent code (altosaar, 150,000 steps, other networks) reports -ELBO 101.64
and NLL 95.33 with IAF against 103.31 and 97.10 without. Not reproduced.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, planar, tiny.
Command: python -m experiments.train --config=configs/iaf.py:fashion_mnist --workdir=runs/iaf
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.vae(argument, ("planar",), datasets=recipes.GREY, batch_size=100)
  config.model = {"name": "gated_mlp", "z_dim": 40, "width": 300, "layers": 2}
  config.posterior = {"name": "inverse_autoregressive", "steps": 2, "width": 320, "layers": 2, "context": 80}
  if "planar" in words:
    config.posterior = {"name": "planar", "steps": 10}
  config.optim = recipes.adam(1e-3)
  posterior = {"steps": 2} if "planar" in words else {"width": 16, "context": 8}
  return recipes.finish(config, words, model={"width": 32}, posterior=posterior)
