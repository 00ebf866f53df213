"""Importance Weighted Autoencoders (Burda et al. 2016, arXiv:1509.00519): a tighter bound from k draws of z.

Recipe of the authors' code, one stochastic layer: 784-200-200-z50 with tanh and its mirror, Glorot-uniform weights, the
output's biases at the logit of the mean training image, Adam with beta1 0.99 and epsilon 1e-4 on the gradient's sum
over a batch of 20 (here, on its mean, 1e-4 / 20), the learning rate 1e-3 times 10^(-i/7) in pass i = 0 ... 7 over 3^i
epochs. Here the first six passes, 364 epochs, are the default length and the rate falls at the same epochs; k is
``--config.objective.draws``, 5 by default. Unlike there, Adam's mean of squared gradients starts at 0 and not at 1,
which makes the first steps longer; examples are shuffled; the rates are not rounded to 1e-5. ``gated`` has the network
and the protocol of Exemplar VAE (`configs.recipes.use_exemplar_protocol`), but not its warm-up, which weighs a rate
that this bound does not have.

Number to expect: the paper's Table 1, MNIST drawn anew at each use, test NLL by 5,000 draws (active units, recalled,
unverified): k = 1 86.76 (19), k = 5 85.54 (22), k = 50 84.78 (25), after 3,280 epochs of its 59,600 images, where this
code trains on 50,000. No figures for Fashion-MNIST are known; here, ``gated`` after 50 epochs: k = 1 232.80 (14), k = 5
231.78 (17), k = 50 ``doubly`` 230.72 (36).

Variants: digits (the default, at 16x16), fashion_mnist, mnist, gated, doubly, tiny.
``doubly``: the gradient of Tucker et al. 2019 (arXiv:1810.04152), whose signal does not fall with k.
Command: python -m experiments.train --config=configs/iwae.py:fashion_mnist --workdir=runs/iwae
Time: ``gated`` 5, 9 and 119 s an epoch for k = 1, 5 and 50 on one core of a newer Xeon.
"""

from ml_collections import ConfigDict

from configs import recipes, schema

PASSES = 6  # of the paper's 8


def get_config(argument: str = "") -> ConfigDict:
  dataset, words = recipes.variants(argument, recipes.GREY, ("gated", "doubly"))
  tiny = "tiny" in words
  config = schema.get_config("vae")
  if "gated" in words:
    recipes.use_exemplar_protocol(config, dataset, tiny=tiny)
    config.model = {"name": "gated_mlp", "z_dim": 40, "width": 300, "layers": 2}
  else:
    epochs = (3**PASSES - 1) // 2
    recipes.use_binary_images(config, dataset, batch_size=20, epochs=epochs, tiny=tiny)
    epoch = recipes.TRAIN_EXAMPLES[dataset] // 20
    config.model = {
      "name": "mlp",
      "z_dim": 50,
      "width": 200,
      "layers": 2,
      "activation": "tanh",
      "kernel_init": "glorot_uniform",
      "starts_at_mean": True,
    }
    milestones = tuple(epoch * (3**i - 1) // 2 for i in range(1, PASSES))
    rate = {"name": "piecewise", "start": 1e-3, "factor": 10 ** (-1 / 7), "milestones": milestones}
    config.optim = recipes.adam(rate, b1=0.99, eps=1e-4 / 20)
    config.samples.every = config.checkpoint.every = config.evaluate.every * (1 if dataset == "digits" else 10)
  config.objective = {
    "name": "importance_weighted",
    "draws": 5,
    "gradient": "doubly" if "doubly" in words else "standard",
  }
  config.checkpoint.keep_best = "importance_bound"
  return recipes.finish(config, words, model={"width": 32})
