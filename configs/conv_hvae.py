"""Two layers of latents over gated convolutions (Tomczak & Welling 2018, arXiv:1705.07120, Section 4).

Recipe: the protocol of Exemplar VAE (Norouzi et al. 2020, arXiv:2004.04795; `configs.recipes.use_exemplar_protocol`);
z2, the top, and z1 have 40 units each. The rate of z1 is the closed form between two Gaussians, there log q - log p of
one draw. ``vampprior`` puts the mean posterior of 500 learned pseudo-inputs over z2.

Number to expect: test NLL in nats by 5,000 importance-weighted draws, Norouzi et al., on the very test pixels of
``data.binarize`` here: Fashion-MNIST 225.38 (standard prior) and 224.67 (VampPrior), dynamic MNIST 80.52 and 79.67. Not
reproduced yet.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, vampprior, tiny.
Command: python -m experiments.train --config=configs/conv_hvae.py:fashion_mnist --workdir=runs/conv_hvae
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.vae(
    argument, ("vampprior",), datasets=recipes.GREY, protocol=recipes.use_exemplar_protocol
  )
  config.model = {"name": "conv_hvae", "z_dim": 40, "lower_z_dim": 40, "width": 300, "channels": 32}
  if "vampprior" in words:
    config.prior = {"name": "vampprior", "components": 500, "mean": 0.05, "deviation": 0.01}
  prior = {"prior": {"components": 10}} if "vampprior" in words else {}
  return recipes.finish(config, words, model={"width": 32, "channels": 4}, **prior)
