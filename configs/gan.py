"""Generative Adversarial Nets (Goodfellow et al. 2014, arXiv:1406.2661): rectifier MLP against maxout MLP with dropout.

Recipe: the authors' MNIST run (goodfeli/adversarial, mnist.yaml): SGD at 0.1 / 1.000004^updates (at least 1e-6),
momentum from 0.5 to 0.7 over 250 epochs, batch 100, both players updated at once on shared fakes, G's loss
non-saturating, D's halved, dropout of 0.2 on D's input and 0.5 in it, weights from U(-0.05, 0.05) in G and U(-0.005,
0.005) in D, z of 100 from U[-sqrt 3, sqrt 3), images in [0, 1]. Unlike theirs, G's output biases start at 0, not at
the data's marginals.

Number to expect: Table 1, MNIST, Parzen-window log-likelihood 225 +- 2 nats (test images, cross-validated sigma; 10k
samples: recalled, unverified), by python -m experiments.evaluate --metrics=parzen; not measured yet. On gaussians8, all
8 modes (tests/learning_test.py).

Variants: digits (the default), fashion_mnist, mnist, cifar10, gaussians8 (2-D), saturating (Eq. 1), tapered, tiny.
``tapered`` is not the paper's but what most tutorials train (gan/networks/tapered_mlp.py): Adam 2e-4 with beta1 0.5,
batch 64, images in [-1, 1], D first. The PyTorch-GAN collection moves G first, which on shared fakes is
game.order=simultaneous.
Command: python -m experiments.train --config=configs/gan.py:fashion_mnist --workdir=runs/gan
Time: fashion_mnist 68 minutes on 2 CPU cores by --check (32 ms a step); digits took 3.4 beside two other jobs.
"""

from ml_collections import ConfigDict

from configs import recipes, schema


def get_config(argument: str = "") -> ConfigDict:
  dataset, words = recipes.variants(argument, (*recipes.ALL, "gaussians8"), ("saturating", "tapered"))
  config = schema.get_config("gan")
  recipes.use_dataset(config, dataset, tiny="tiny" in words)
  recipes.set_every(config, log=100, rest=500 if dataset == "digits" else 5000)
  config.z_dim = 100
  config.z_prior = "standard_uniform"
  recipes.use_perceptrons(config, dataset, decay=1.000004)
  config.loss = {"name": "saturating" if "saturating" in words else "non_saturating"}
  if dataset == "gaussians8":
    _two_dimensional(config)
  if "tapered" in words:
    _tapered(config, dataset)
    return recipes.finish(config, words, generator={"widths": (16, 32)}, discriminator={"widths": (32, 16)})
  return recipes.finish(config, words, generator={"width": 32}, discriminator={"width": 16})


def _two_dimensional(config: ConfigDict) -> None:
  """Sets what is not the paper's: Adam decaying to 0, z of 2, larger initial weights, averaged weights.

  D learns twice as fast and has a little dropout: without it, about one seed in three lost a mode.
  """
  config.data.pixel_range = (-1.0, 1.0)
  config.train.update({"num_steps": 3000, "batch_size": 128, "steps_per_call": 100})
  recipes.set_every(config, log=500, rest=1000)
  config.ema.decay = 0.99
  config.z_dim = 2
  config.z_prior = "normal"
  config.game.update({"order": "alternating", "fakes": "fresh", "d_loss_scale": 1.0})
  config.generator.update({"width": 128, "init_range": 0.2})
  dropout = {"input_dropout": 0.0, "hidden_dropout": 0.1}
  config.discriminator.update({"width": 64, "pieces": 2, **dropout, "init_range": 0.3})
  rate = {"name": "cosine", "end": 0.0, "steps": config.train.get_oneway_ref("num_steps")}
  config.generator_optim, config.discriminator_optim = (
    recipes.adam({**rate, "start": start}, b1=0.5, b2=0.99) for start in (1e-3, 2e-3)
  )


def _tapered(config: ConfigDict, dataset: str) -> None:
  """Sets what is not the paper's: 200 epochs of Adam on other networks."""
  config.data.pixel_range = (-1.0, 1.0)
  steps = 200 * (recipes.TRAIN_EXAMPLES[dataset] // 64)
  config.train.update({"num_steps": steps, "batch_size": 64, "steps_per_call": 10})
  config.z_prior = "normal"
  config.game.update({"order": "alternating", "fakes": "shared", "d_loss_scale": 0.5})
  network = {"name": "tapered_mlp", "slope": 0.2}
  config.generator = {**network, "widths": (128, 256, 512, 1024), "bn_momentum": 0.9, "bn_epsilon": 0.8}
  config.discriminator = {**network, "widths": (512, 256)}
  config.generator_optim = config.discriminator_optim = recipes.adam(2e-4, b1=0.5)
