"""A U-Net (Ronneberger et al. 2015) of residual blocks that fills holes and sharpens, as DRUNet (Zhang et al. 2021).

Recipe: this code's own for CPUs; DRUNet (KAIR's options/train_drunet.json) has 64 to 512 channels, 4 blocks at each
size, L1, batches of 64 windows of 128 pixels and Adam 1e-4. fashion_mnist: what is hidden by a hole of 14x14 pixels
in the middle, squared error, 10 epochs. photos: a Gaussian blur of 1.6 pixels with noise of 2 grey levels, L1. Both
have 32, 64 and 128 channels with one block at each size, and Adam 1e-3 that decays to 0 on a cosine.

Number to expect: none was measured here; on Fashion-MNIST the mean of the 20 training images whose visible pixels are
nearest has a PSNR of 17.34 dB over the hole (2,000 test images).

Variants: fashion_mnist (the default), photos, tiny.
Command: python -m experiments.train --config=configs/unet.py:fashion_mnist --workdir=runs/unet
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  config, dataset, words = recipes.restoration(argument, datasets=("fashion_mnist", "photos"))
  holes = dataset == "fashion_mnist"
  if holes:
    config.data.degradation = ({"name": "box", "height": 14, "width": 14},)
    config.train.update({"num_steps": 8000, "batch_size": 64})
    config.loss = {"name": "l2"}
  else:
    config.data.degradation = ({"name": "gaussian_blur", "sigma": 1.6}, {"name": "gaussian_noise", "sigma": 2.0})
    config.train.update({"num_steps": 10000, "batch_size": 8})
  config.model = {"name": "unet", "widths": (32, 64, 128), "blocks": 1}
  recipes.use_short_adam(config)
  return recipes.finish(config, words, model={"widths": (4, 8), "blocks": 1})
