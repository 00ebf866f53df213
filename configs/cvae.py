"""A VAE given the label (Sohn et al. 2015, "Learning Structured Output Representation"; M2 of Kingma et al. 2014).

Recipe: the VAE of configs/vae.py, ``flax``: 784-500-z20-500 with ReLU, Adam 1e-3, batch 128, with the label as one-hot
values beside the encoder's pixels and the decoder's z; p(z) is N(0, I) for every label. ``conv`` has strided
convolutions. Unlike the paper, it has no prior network, for which the label alone has little use. M2's public code
(nips14-ssl) differs in its softplus units and its few labels, with q(y|x) for the rest.

Number to expect: for the conditional IWAE of one layer at k = 1 an independent code reports 82.32 nats on MNIST (nbip's
README), with other networks and a prior that is given the label too. Not reproduced.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10, conv, tiny.
Command: python -m experiments.train --config=configs/cvae.py:fashion_mnist --workdir=runs/cvae
experiments.evaluate then gives bounds and likelihoods of p(x|label).
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.vae(argument, ("conv",), batch_size=128)
  conv = "conv" in words
  config.model = {"name": "mlp", "z_dim": 20, "width": 500, "layers": 1, "activation": "relu"}
  if conv:
    config.model = {"name": "conv", "z_dim": 20, "channels": (32, 64)}
  config.conditioning = {"name": "concat"}
  config.optim = recipes.adam(1e-3)
  return recipes.finish(config, words, model={"channels": (8, 8)} if conv else {"width": 32})
