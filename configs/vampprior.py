"""VampPrior (Tomczak & Welling 2018, arXiv:1705.07120): the prior is the mean posterior of 500 learned pseudo-inputs.

Recipe: the network and the protocol of Exemplar VAE (Norouzi et al. 2020, arXiv:2004.04795; see
`configs.recipes.use_exemplar_protocol`), two gated layers of 300 on each side and z of 40; pseudo-inputs are clipped to
[0, 1] and start from N(0.05, 0.01^2), as in VampPrior's code. Exemplar VAE's public code initializes all linear layers
by He's rule afterwards, so that there they start from N(0, 2 / 500), half of them clipped:
``--config.prior.mean=0 --config.prior.deviation=0.0632``. The VAE to compare with is ``vae:fashion_mnist,gated``.

Number to expect: test NLL in nats by 5,000 importance-weighted draws, Norouzi et al., on the very test pixels of
``data.binarize`` here: Fashion-MNIST 227.35 +- 0.05, dynamic MNIST 82.43 +- 0.06 (standard prior: 228.70 +- 0.15 and
84.45 +- 0.12). Here 228.87 after 200 epochs (VAE: 230.41); no early-stopped run yet, see experiments/RESULTS.md.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, tiny.
Command: python -m experiments.train --config=configs/vampprior.py:fashion_mnist --workdir=runs/vampprior
Time: fashion_mnist 24 s an epoch on one core of a newer Xeon; early stopping takes hundreds of epochs.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.vae(argument, datasets=recipes.GREY, protocol=recipes.use_exemplar_protocol)
  config.model = {"name": "gated_mlp", "z_dim": 40, "width": 300, "layers": 2}
  config.prior = {"name": "vampprior", "components": 500, "mean": 0.05, "deviation": 0.01}
  return recipes.finish(config, words, model={"width": 32}, prior={"components": 10})
