"""cGANs with Projection Discriminator (Miyato & Koyama 2018, arXiv:1802.05637): SNGAN with labels.

Recipe: configs/sngan.py with BatchNorm of a scale and a bias for each label in G, and the inner product of D's features
and an embedding of the label added to D's logit, spectral normalization on the embedding too; hinge loss, five
discriminator updates a step, Adam with beta1 0 and beta2 0.9, at 2e-4 for 50,000 generator updates and then in a
straight line to 0 at 100,000; batch 64, twice that for G; z of 128 from N(0, I), images in [-1, 1]. cifar10 has SNGAN's
widths; the smaller sets have 64 in both. Generated images bear the labels of the batch's real ones.

Number to expect: CIFAR-10, inception score 8.62 and FID 17.5 (10,000 samples against 5,000 images, as Mimicry says of
it; a table of the appendix, its number not verified). Mimicry reports 8.25 and 17.84 so, 10.84 at 50,000 against
50,000.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10 (32x32), tiny.
Command: python -m experiments.train --config=configs/projection.py:cifar10 --workdir=runs/projection
Time: not measured; --check tells. cifar10 is work for an accelerator.
"""

from ml_collections import ConfigDict

from configs import base

IMAGE_SIZE = {"digits": 16, "fashion_mnist": 32, "mnist": 32, "cifar10": 32}


def get_config(argument: str = "") -> ConfigDict:
  dataset, words = base.variants(argument, IMAGE_SIZE)
  config = base.get_config()
  base.use_gan(config)
  base.use_dataset(config, dataset, image_size=IMAGE_SIZE[dataset], tiny="tiny" in words)
  config.data.pixel_range = (-1.0, 1.0)
  config.train.update({"num_steps": {"digits": 1500, "cifar10": 100000}.get(dataset, 10000), "batch_size": 64})
  base.set_every(config, log=50, rest=500)

  config.z_dim = 128
  config.n_critic = 5
  config.generator_batch_multiple = 2
  config.conditioning = {"name": "projection", "generator": "class_batch_norm"}
  full_size = dataset == "cifar10"
  config.generator = {"name": "resnet", "width": 256 if full_size else 64, "bn_momentum": 0.9, "bn_epsilon": 2e-5}
  config.discriminator = {"name": "resnet", "width": 128 if full_size else 64, "spectral_norm": True, "pool": "sum"}
  config.loss = {"name": "hinge"}
  steps = config.train.get_ref("num_steps")  # what is computed of it follows it; by itself it would also set it
  config.generator_optim, config.discriminator_optim = (
    {
      "name": "adam",
      "learning_rate": {
        "name": "linear",
        "start": 2e-4,
        "end": 0.0,
        "delay": turns * (steps // 2),
        "steps": turns * (steps // 2),
      },
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
