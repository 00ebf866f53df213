"""Variational Autoencoder with Arbitrary Conditioning (Ivanov et al. 2019, arXiv:1806.02382): a VAE that restores.

Recipe: the authors' code (tigvarts/vaeac: VAEAC.py, prob_utils.py, celeba_model/model.py). The proposal q(z|x, seen)
and the prior p(z|seen) are networks of one shape; the decoder has the maps of the prior's beside its own at each size;
the likelihood is that of the hole alone, and a penalty that hardly acts bounds the prior's moments. What is known is
kept as it is. There CelebA at 128 pixels, under masks of several kinds, is halved seven times to z of 256; blocks have
BatchNorm, each pixel has a deviation of its own, 0.01 or more on [-1, 1], and Adam at 2e-4 takes batches of 16 and the
loss over 128^2. Here small pictures are halved twice to z of 32, without BatchNorm; all pixels share one deviation;
batches are of 64, 10 epochs of them on fashion_mnist, with Adam from 1e-3 to 0 on a cosine.

fashion_mnist fills a hole of 14x14 pixels in the middle, digits (16x16) one of 8x8; the colored sets get their colors
from grey, where the likelihood is that of the whole image.

Number to expect: not measured here. On Fashion-MNIST the mean of the 20 training images whose visible pixels are
nearest has a PSNR of 17.34 dB over the hole (2,000 test images).

Variants: fashion_mnist (the default), digits, cifar10, folder, photos, emoji, emoji_people; tiny.
Command: python -m experiments.train --config=configs/vaeac.py:fashion_mnist --workdir=runs/vaeac
python -m experiments.evaluate --workdir=runs/vaeac --metrics="{'nll': {'k': 500}, 'psnr': {'draws': 50}, 'diversity':
{}, 'frechet': {}}"; nll is that of the hole, and psnr that of the mean of 50 draws.
python -m experiments.restore --workdir=runs/vaeac --input=FOLDER --mask=hole.png --draws=5 --out=filled
Time: not measured; --check tells.
"""

from ml_collections import ConfigDict

from configs import recipes


def get_config(argument: str = "") -> ConfigDict:
  datasets = ("fashion_mnist", "digits", "cifar10")
  config, dataset, words = recipes.vae(argument, datasets=datasets, protocol=recipes.use_grey_images, batch_size=64)
  side = 8 if dataset == "digits" else 14
  hole = {"name": "box", "height": side, "width": side}
  config.data.degradation = (hole if dataset in recipes.GREY else {"name": "grey"},)
  if dataset == "fashion_mnist":
    config.train.num_steps = 8000
  config.checkpoint.update({"keep_best": "elbo", "best_mode": "max"})
  config.model = {"name": "unet", "z_dim": 32, "channels": (16, 32, 64), "blocks": 1}
  config.likelihood = {"name": "shared_gaussian", "sigma": 0.3}
  config.prior = {"name": "conditional_normal", "hidden": 256, "sigma_mu": 1e4, "sigma_sigma": 1e-4}
  config.conditioning = {"name": "seen"}
  recipes.use_short_adam(config)
  return recipes.finish(config, words, model={"z_dim": 4, "channels": (4, 8)})
