"""Regularized autoencoders (Ghosh et al. 2020, arXiv:1903.12436): no noise in the encoder, a smooth decoder, and a
density of the latents that is fitted afterwards (configs/samplers.py, ten Gaussians in the paper).

Recipe: the objectives of the authors' code with the weights of its MNIST and CIFAR-10 runs. There the squared error is
a mean over pixels and the penalty a mean of z^2 over z; here both are sums, so that the weights are multiplied by the
number of pixels, and the whole objective is theirs times that number: on 28x28 images with z of 16, z_weight is 0.049
(RAE) and 0.0098 (``l2``, ``gradient``). ``l2`` takes the squares of the kernels of the decoder's convolutions;
``gradient`` takes the squared slope in z of the sum of the decoder's squared pixels (theirs in a training pass, here
with BatchNorm's running statistics). ``vae`` is their VAE: the summed squared error plus 0.312 times the rate.

Not theirs: the InfoGAN-style network of Lucic et al. 2018 on images as they are, where they have four convolutions of
128 to 1,024 channels with BatchNorm on digits padded to 32x32; Adam 1e-3 and 20 epochs, where they have 5e-4 (VAE
1e-4), halved after 5 epochs without a better validation loss, and 100 epochs. Their CIFAR-10 run of ``gradient`` has a
weight of 0; ours has that of MNIST.

Number to expect: FID on MNIST by ten Gaussians (of scikit-learn's BayesianGaussianMixture, configs/samplers.py), from
the configs of the paper's code: RAE 9.81, RAE-L2 8.69, RAE-GP 11.54, AE 10.66, VAE 17.66. Scores of this code on
Fashion-MNIST: experiments/RESULTS.md.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10, l2, gradient, vae, tiny.
Command: python -m experiments.train --config=configs/rae.py:fashion_mnist --workdir=runs/rae
Time: fashion_mnist at half its width 1,900 images/s on one core of a newer Xeon (``vae`` 1,500).
"""

from ml_collections import ConfigDict

from configs import recipes

MODELS = ("l2", "gradient", "vae")
# Of the mean of z^2 and of the regularizer, beside the mean squared error, in the configurations of the authors' code.
MNIST = {"none": (5e-4, 0.0), "l2": (1e-4, 1e-7), "gradient": (1e-4, 0.5e-7)}
CIFAR10 = {"none": (1e-2, 0.0), "l2": (1e-3, 1e-6), "gradient": (9e-4, 0.5e-7)}


def get_config(argument: str = "") -> ConfigDict:
  config, _, words = recipes.vae(argument, MODELS, protocol=recipes.use_grey_images, batch_size=100)
  model = recipes.one_of(words, MODELS, "none")
  colour = config.data.channels == 3
  z_dim, pixels = 128 if colour else 16, config.data.image_size**2 * config.data.channels
  batch_norm = {"bn_momentum": 0.9, "bn_epsilon": 1e-5}
  config.model = {"name": "infogan", "z_dim": z_dim, "width": 64, "hidden": 1024, **batch_norm}
  config.likelihood = {"name": "gaussian", "sigma": 0.5**0.5}
  if model == "vae":
    # Their error is a mean over the channels of a pixel and a sum over pixels.
    config.objective = {"name": "elbo", "beta": 3 * 0.024 if colour else 0.312}
    config.checkpoint.update({"keep_best": "elbo", "best_mode": "max"})
  else:
    config.posterior = {"name": "deterministic"}
    config.prior = {"name": "none"}
    of_z, weight = (CIFAR10 if colour else MNIST)[model]
    # |z|^2 / 2 and the slope's square are sums over z here and means there; a sum over kernels is one in both.
    weight *= pixels / z_dim if model == "gradient" else pixels
    config.objective = {"name": "rae", "z_weight": 2 * pixels * of_z / z_dim, "regularizer": model, "weight": weight}
  config.optim = recipes.adam(1e-3)
  return recipes.finish(config, words, model={"width": 8, "hidden": 16})
