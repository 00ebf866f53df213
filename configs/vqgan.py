"""VQGAN (Esser et al. 2021, arXiv:2012.09841): a discriminator of patches judges the reconstructions of a VQ-VAE.

Recipe: the authors' code (CompVis/taming-transformers, configs/custom_vqgan.yaml, losses/vqperceptual.py): images in
[-1, 1]; the mean absolute error, a perceptual term of the same weight and a commitment of weight 1 (by its flag
``legacy`` beta 0.25 weighs the codebook's term); the hinge of PatchGAN's D at 0.8 of the adaptive weight, from step
10,000 on (ImageNet: 250,001); Adam with decays 0.5 and 0.9 and a rate of 4.5e-6 times the batch. Here all terms are
sums over an image's values, as in latent diffusion, in place of means: the weights above, and the bound 1e4 of the
adaptive one, are multiplied by the number of values, which changes nothing under Adam.

- ``fsq``: 1,000 codes of numbers that are rounded to 8, 5, 5 and 5 levels (Mentzer et al. 2023, arXiv:2309.15505).
- ``kl``: the autoencoder of latent diffusion (Rombach et al. 2022, arXiv:2112.10752; CompVis/latent-diffusion,
  configs/autoencoder, losses/contperceptual.py): Gaussian latents, 4 at each place, with the rate at 1e-6 of its nats
  beside the sums above, log-variances in [-30, 20], 0.5 of the adaptive weight, D from step 50,001 on. N(0, I) is far
  from its latents: draw by a prior that is fitted to them (`samplers:gmm`).

Not as there: codes follow running means, start by k-means and are replaced where they die, as in configs/vq_vae.py; D
learns from the first step on and is heard after a quarter of the training (theirs rests until then and is heard
untrained, after which users saw worse reconstructions: issue 44 of their repository); LPIPS, whose weights do not come
with this code, becomes the mean absolute difference of the features of a random network
(--config.content.perceptual.features=lpips:TRUNK.pth,HEADS.pth names its files); images are halved twice and not four
times, so the network is narrower, codes are 512 of 64 numbers, and D's patches have 16 pixels. Theirs at f16, 1,024
codes on images of 256 pixels, have --config.model="{'name': 'vqgan', 'z_dim': 65536}", --config.discriminator.layers=3
and, of config.posterior, code_dim=256, num_codes=1024 and commitment=3.0.

Number to expect: not measured here. Published: ImageNet at 256 pixels, validation split, Frechet distance of
reconstructions 7.94 with 1,024 codes, 4.98 with 16,384 (the README of taming-transformers); here
experiments.evaluate --reconstructions --metrics=psnr,frechet measures such figures.

Variants: digits (the default, at 16x16), fashion_mnist, mnist, cifar10, fsq, kl, tiny.
Command: python -m experiments.train --config=configs/vqgan.py:fashion_mnist --workdir=runs/vqgan
Time: not measured; --check tells.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import recipes

LEVELS = (8, 5, 5, 5)


def get_config(argument: str = "") -> ConfigDict:
  others = ("fsq", "kl")
  config, _, words = recipes.vae(argument, others, protocol=recipes.use_grey_images, family="vae_gan", batch_size=64)
  kind, side = recipes.one_of(words, others, "vq"), config.data.image_size
  places, values = (side // 4) ** 2, side**2 * config.data.channels
  code_dim = {"vq": 64, "fsq": len(LEVELS), "kl": 4}[kind]
  config.data.pixel_range = (-1.0, 1.0)
  config.checkpoint.keep_best = ""
  maps = {
    "width": 32 if config.data.channels == 3 else 16,
    "multipliers": (1, 2, 4),
    "blocks": 1,
    "attention": (),
    "channels": 64,
    "groups": 8,
  }
  config.model = {"name": "vqgan", "z_dim": places * code_dim, **maps}
  config.likelihood = {"name": "laplace", "scale": 1.0}
  tiny: dict[str, Any] = {}
  if kind == "vq":
    restarts = {"restart": 0.01, "kmeans_steps": 10}
    commitment = values / (places * code_dim)
    codes = {"num_codes": 512, "code_dim": code_dim, "commitment": commitment, "decay": 0.99}
    config.posterior, tiny = {"name": "vector_quantized", **codes, **restarts}, {"num_codes": 16, "code_dim": 4}
  elif kind == "fsq":
    config.posterior, tiny = {"name": "finite_scalar", "levels": LEVELS}, {"levels": (3, 2, 2, 2)}
  else:
    config.posterior = {"name": "diagonal_gaussian", "log_var_range": (-30.0, 20.0)}
    config.objective.beta = 1e-6
  config.prior = {"name": "standard_normal" if kind == "kl" else "uniform_codes"}
  config.content = {"perceptual": {"weight": float(values), "features": "random:1"}}
  start = config.train.get_ref("num_steps") // 4
  config.game = {"name": "adaptive", "weight": 0.8, "start": start, "largest": 1e4 * values}
  if kind == "kl":
    config.game.update({"weight": 0.5, "largest": 1e4})
  config.discriminator = {"name": "patch", "width": 64, "layers": 1, "batch_norm": True}
  if config.data.name in ("emoji", "emoji_people"):
    config.data.text = {"name": "words", "length": 20}  # for priors of captions; the model does not read them
  config.optim = recipes.adam(4.5e-6 * config.train.batch_size, b1=0.5, b2=0.9)
  config.discriminator_optim = recipes.adam(4.5e-6 * config.train.batch_size, b1=0.5, b2=0.9)
  model = {"width": 8, "channels": 4, "groups": 4, "z_dim": places * 4}
  return recipes.finish(config, words, model=model, posterior=tiny, discriminator={"width": 4})
