"""Two layers of latents over gated layers (Tomczak & Welling 2018, arXiv:1705.07120, Section 4).

Recipe: the protocol of Exemplar VAE (Norouzi et al. 2020, arXiv:2004.04795; `configs.recipes.use_exemplar_protocol`);
z2, the top, and z1 have 40 units each. The rate of z1 is the closed form between two Gaussians, there log q - log p of
one draw. Layers are dense or, with ``conv``, convolutions. ``vampprior`` puts the mean posterior of 500 learned
pseudo-inputs over z2.

Number to expect: test NLL in nats by 5,000 importance-weighted draws, Norouzi et al., on the very test pixels of
``data.binarize`` here: Fashion-MNIST 227.37 (standard prior) and 226.72 (VampPrior), dynamic MNIST 82.39 and 81.56;
``conv``: 225.38 and 224.67, 80.52 and 79.67. Here, on Fashion-MNIST, 229.48 and 228.91 (VampPrior) after 150 epochs, no
early-stopped run yet; see experiments/RESULTS.md. ``conv`` is not trained yet.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, conv, vampprior, tiny.
Command: python -m experiments.train --config=configs/hvae.py:fashion_mnist --workdir=runs/hvae
Time: fashion_mnist 12 s an epoch, 33 with ``vampprior``, each on one core of a newer Xeon; ``conv`` is not measured.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.vae(
    argument, ("conv", "vampprior"), datasets=recipes.GREY, protocol=recipes.use_exemplar_protocol
  )
  config.model = {"name": "hvae", "z_dim": 40, "lower_z_dim": 40, "width": 300}
  if "conv" in words:
    config.model.update({"name": "conv_hvae", "channels": 32})
  if "vampprior" in words:
    config.prior = {"name": "vampprior", "components": 500, "mean": 0.05, "deviation": 0.01}
  tiny = {"model": {"width": 32, **({"channels": 4} if "conv" in words else {})}}
  tiny |= {"prior": {"components": 10}} if "vampprior" in words else {}
  return recipes.finish(config, words, **tiny)
