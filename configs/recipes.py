"""Recipes that several papers start from."""

from ml_collections import ConfigDict

from configs import base

RESIDUAL_SIZES = {"digits": 16, "fashion_mnist": 32, "mnist": 32, "cifar10": 32}


def residual(dataset: str, words: set[str]) -> ConfigDict:
  """SNGAN's, as configs/sngan.py has it, not locked; words: ``quick``, ``tiny``."""
  config = base.get_config()
  base.use_gan(config)
  base.use_dataset(config, dataset, image_size=RESIDUAL_SIZES[dataset], tiny="tiny" in words)
  config.data.pixel_range = (-1.0, 1.0)
  config.train.update({"num_steps": {"digits": 1500, "cifar10": 50000}.get(dataset, 10000), "batch_size": 64})
  base.set_every(config, log=50, rest=500)

  full_size = dataset == "cifar10"
  if full_size:
    config.data.dequantize = True
    config.data.train_split = "train"
  config.z_dim = 128
  config.n_critic = 5
  config.generator_batch_multiple = 2
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
  return config
