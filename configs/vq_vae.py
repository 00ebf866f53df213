"""VQ-VAE (van den Oord et al. 2017, arXiv:1711.00937): latents are codes, whose prior is fitted afterwards
(`samplers:autoregressive`, `samplers:transformer` or `samplers:masked`).

Recipe: two strided 4x4 convolutions and two residual blocks on each side, the codebook by running means (App. A.1) with
decay 0.99, commitment 0.25, 512 codes of 64 numbers on a map of a quarter of the side, Adam 2e-4, batch 128 (the
paper's), 20 epochs; 128 channels, as in the authors' notebook, for the paper's 256. The likelihood is a Gaussian with
deviation 0.1 on grey values, and on ``cifar10`` a discretized logistic over the 256 levels, so that bits/dim are those
of a code. Unlike the notebook (Sonnet's vqvae_example, CIFAR-10), codes start by k-means on the first batch and dead
ones are replaced; the notebook's first convolution has half the channels, its learning rate is 3e-4 and its batch 32;
its loss is the mean squared error over the data's variance plus 0.25 of a mean over the codes' numbers, which in these
units is a commitment of 0.39 on Fashion-MNIST.

- ``fsq``: the same with numbers that are rounded to 8, 5, 5 and 5 levels, 1,000 codes without a codebook and without a
  penalty (finite scalar quantization, Mentzer et al. 2023, arXiv:2309.15505); the encoder gives 4 numbers for 64. Not
  measured here.

Number to expect: CIFAR-10, bits/dim 4.67 (recalled, unverified); here 5.87 with a transformer of the codes, and a PSNR
of reconstructions of 24.34 dB. These and the scores on Fashion-MNIST: experiments/RESULTS.md.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10, fsq, tiny.
Command: python -m experiments.train --config=configs/vq_vae.py:fashion_mnist --workdir=runs/vq_vae
Time: fashion_mnist at half its width 820 images/s on one core of a newer Xeon.
"""

from ml_collections import ConfigDict

from configs import recipes

CODE_DIM = 64
LEVELS = (8, 5, 5, 5)


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.vae(argument, ("fsq",), protocol=recipes.use_grey_images, batch_size=128)
  places = (config.data.image_size // 4) ** 2  # of the map of codes
  code_dim = len(LEVELS) if "fsq" in words else CODE_DIM
  config.model = {"name": "resnet", "z_dim": places * code_dim, "width": 128, "hidden": 32}
  config.likelihood = (
    {"name": "discretized_logistic"} if config.data.channels == 3 else {"name": "gaussian", "sigma": 0.1}
  )
  config.posterior = {
    "name": "vector_quantized",
    "num_codes": 512,
    "code_dim": CODE_DIM,
    "commitment": 0.25,
    "decay": 0.99,
    "restart": 0.01,
    "kmeans_steps": 10,
  }
  if "fsq" in words:
    config.posterior = {"name": "finite_scalar", "levels": LEVELS}
  config.prior = {"name": "uniform_codes"}
  if config.data.name in ("emoji", "emoji_people"):
    config.data.text = {"name": "words", "length": 20}  # for priors of captions; the model does not read them
  config.optim = recipes.adam(2e-4)
  model = {"z_dim": places * 4, "width": 8, "hidden": 4}
  posterior = {"levels": (3, 2, 2, 2)} if "fsq" in words else {"num_codes": 16, "code_dim": 4}
  return recipes.finish(config, words, model=model, posterior=posterior)
