"""beta-VAE (Higgins et al. 2017), and its capacity schedule (Burgess et al. 2018, arXiv:1804.03599).

Recipe: the VAE of configs/vae.py, ``flax``: 784-500-z20-500 with ReLU, Adam 1e-3, here with batch 100 for 20 epochs,
and beta 4; a sweep sets ``--config.objective.beta``. ``infogan`` is the network of Lucic et al. 2018 with z of 64.
``capacity``: gamma 1,000 around a capacity that rises from 0 to 25 nats over half the steps. The authors' code is not
public. disentanglement_lib has both objectives with convolutions at 64x64, z of 10, the cross-entropy of grey pixels,
Adam 1e-4 and 300,000 steps of 64; it takes the distance to the capacity from the batch's mean rate, where the paper's
equation and this code take it from the rate of each image.

Number to expect: both papers judge disentanglement on sets that are not here. The rate-distortion curve over beta on
Fashion-MNIST: experiments/RESULTS.md, where it is measured.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10, capacity, infogan, tiny.
Command: python -m experiments.train --config=configs/beta_vae.py:fashion_mnist --workdir=runs/beta_vae
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.vae(argument, ("capacity", "infogan"), batch_size=100)
  config.model = {"name": "mlp", "z_dim": 20, "width": 500, "layers": 1, "activation": "relu"}
  if "infogan" in words:
    batch_norm = {"bn_momentum": 0.9, "bn_epsilon": 1e-5}
    config.model = {"name": "infogan", "z_dim": 64, "width": 64, "hidden": 1024, **batch_norm}
  config.objective = {"name": "elbo", "beta": 4.0}
  if "capacity" in words:
    rising = {"name": "linear", "start": 0.0, "end": 25.0, "steps": config.train.get_oneway_ref("num_steps") // 2}
    config.objective = {"name": "capacity", "capacity": rising, "gamma": 1000.0}
  config.optim = recipes.adam(1e-3)
  return recipes.finish(config, words, model={"width": 8, "hidden": 16} if "infogan" in words else {"width": 32})
