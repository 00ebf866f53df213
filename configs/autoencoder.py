"""The autoencoder that VAEs come from (Hinton & Salakhutdinov 2006; denoising: Vincent et al. 2008 and 2010).

Recipe: this code's own. One hidden layer of 500 on each side, z of 32, squared error summed over pixels (up to a
constant, a Gaussian with deviation sqrt(1/2)), Adam 1e-3, batch 100, 20 epochs. ``conv`` has strided convolutions;
``denoising`` shows the encoder images with a quarter of the pixels black. An autoencoder has no prior: to draw from it,
fit one to its latents (configs/samplers.py).

Number to expect: none is published for this network, and this code's is not measured.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10, conv, denoising, tiny.
Command: python -m experiments.train --config=configs/autoencoder.py:fashion_mnist --workdir=runs/autoencoder
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.vae(argument, ("conv", "denoising"), protocol=recipes.use_grey_images, batch_size=100)
  conv = "conv" in words
  config.model = {"name": "mlp", "z_dim": 32, "width": 500, "layers": 1, "activation": "relu"}
  if conv:
    config.model = {"name": "conv", "z_dim": 32, "channels": (32, 64)}
  config.likelihood = {"name": "gaussian", "sigma": 0.5**0.5}
  config.posterior = {"name": "deterministic"}
  config.prior = {"name": "none"}
  config.objective = {"name": "reconstruction"}
  if "denoising" in words:
    config.corruption = {"name": "masking", "probability": 0.25}
  config.optim = recipes.adam(1e-3)
  return recipes.finish(config, words, model={"channels": (8, 8)} if conv else {"width": 32})
