"""SNGAN (Miyato et al. 2018, arXiv:1802.05957): residual networks, spectral normalization of D, hinge loss.

Recipe: the authors' unconditional CIFAR-10 run: five discriminator updates a step, Adam 2e-4 with beta1 0 and beta2
0.9, falling in a straight line to 0 over 50,000 generator updates, batch 64, z of 128 from N(0, I), images in [-1, 1].
One power iteration for each D update. G's batch is 128, twice D's. cifar10 has the paper's widths, 256 in G and 128 in
D; the smaller sets have 64 in both. quick is for two CPU cores: a width of 32, one discriminator update a step, and a
learning rate of 1e-3, since weights of a narrower network start larger; 5,000 steps.

Number to expect: Table 2, CIFAR-10, unconditional, residual networks, hinge loss: inception score 8.22 +- 0.05 and FID
21.7 +- 0.21 (10,000 samples against 5,000 images, as Mimicry says of it). Mimicry reports 16.8 at 50,000 against
50,000. Not measured here. fashion_mnist,quick: a Frechet distance of 41.3 by the classifier of experiments/RESULTS.md,
10,000 samples against the 10,000 test images, where DCGAN has 64.6 after as many steps.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10 (32x32), quick, tiny.
Command: python -m experiments.train --config=configs/sngan.py:cifar10 --workdir=runs/sngan
Time: fashion_mnist 4 to 5 s a step on one core beside other work, quick about 0.8 s (70 minutes in all); cifar10 is
work for an accelerator.
"""

from ml_collections import ConfigDict

from configs import base

IMAGE_SIZE = {"digits": 16, "fashion_mnist": 32, "mnist": 32, "cifar10": 32}


def get_config(argument: str = "") -> ConfigDict:
  dataset, words = base.variants(argument, IMAGE_SIZE, ("quick",))
  config = base.get_config()
  base.use_gan(config)
  base.use_dataset(config, dataset, image_size=IMAGE_SIZE[dataset], tiny="tiny" in words)
  config.data.pixel_range = (-1.0, 1.0)
  config.train.update({"num_steps": {"digits": 1500, "cifar10": 50000}.get(dataset, 10000), "batch_size": 64})
  base.set_every(config, log=50, rest=500)

  config.z_dim = 128
  config.n_critic = 5
  config.generator_batch_multiple = 2
  full_size = dataset == "cifar10"
  config.generator = {"name": "resnet", "width": 256 if full_size else 64, "bn_momentum": 0.9, "bn_epsilon": 2e-5}
  config.discriminator = {"name": "resnet", "width": 128 if full_size else 64, "spectral_norm": True}
  config.loss = {"name": "hinge"}
  start = 2e-4
  if "quick" in words:
    start = 1e-3
    config.n_critic = 1
    config.generator.width = config.discriminator.width = 32
    config.train.num_steps = 5000
  steps = config.train.get_ref("num_steps")  # what is computed of it follows it; by itself it would also set it
  config.generator_optim, config.discriminator_optim = (
    {
      "name": "adam",
      "learning_rate": {"name": "linear", "start": start, "end": 0.0, "steps": turns * steps},
      "b1": 0.0,
      "b2": 0.9,
      "eps": 1e-8,
    }
    for turns in (1, config.get_ref("n_critic"))
  )
  if "tiny" in words:
    base.shrink(config)
    config.generator.width = config.discriminator.width = 8
  return base.finish(config)
