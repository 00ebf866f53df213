"""Densities of a trained VAE's latents, to draw from in the place of its prior.

Give a VAE's workdir as config.data.dir: its last checkpoint encodes each image once, by a draw of q(z|x), and the
density is trained on these latents. config.data.name=latents:best or latents:STEP takes another checkpoint. The best
state on the validation split is the one that --prior of experiments.sample and experiments.evaluate uses.

- ``gmm``: ten Gaussians with full covariances, as in Ghosh et al. 2020 (RAE, arXiv:1903.12436). They are fitted by
  gradient, from clusters; the FIDs that their code quotes are of scikit-learn's BayesianGaussianMixture, variational,
  with a weight concentration of 1/10.
- ``flow``: eight affine couplings (Dinh et al. 2017, arXiv:1605.08803).
- ``two_stage``: a second VAE with three layers of 1,024 units on each side and latents of the size of z (Dai & Wipf
  2019, arXiv:1903.05789). Their code trains it on batches of 64 by Adam from 1e-4, halved after every 300 of 800
  epochs, on z that is drawn anew from q(z|x) in each epoch and is not standardised; here z is drawn once and
  standardised. Here beta rises from 0 to 1 over the first half of the steps: otherwise, after this short a training,
  the rate stays next to 0 where the latents are near N(0, I).
- ``autoregressive``: a gated PixelCNN of the codes of a VQ-VAE (van den Oord et al. 2017, arXiv:1711.00937).
- ``transformer``: four blocks of width 128 over the codes in raster order, and before them with ``label`` the class, or
  with ``text`` the words of the caption, as in LlamaGen (Sun et al. 2024, arXiv:2406.06525), of whose network it has
  neither the rotations nor the gates, and whose Adam has weights that decay. A tenth of the labels or captions and a
  tenth of the values in each block are dropped in training.
- ``masked``: the same blocks, which predict masked codes from all others and draw an image in 12 steps (MaskGIT, Chang
  et al. 2022, arXiv:2202.04200; their training code is not public).

Draws of the last two take other settings after the run: --prior=RUN:guidance=2.0,top_k=100,top_p=0.9,temperature=0.9,
and of ``masked`` also steps=8 and choice_temperature=4.5. ``text`` needs a VAE that was trained with config.data.text,
as ``vq_vae:emoji`` is, whose words it takes over.

The learning rate falls to 0 on a cosine.

Number to expect: configs/rae.py and configs/two_stage.py have those of the papers. Scores of this code on
Fashion-MNIST: experiments/RESULTS.md.

Variants: latents (the default and only data), gmm (the default), flow, two_stage, autoregressive, transformer, masked;
label and text, of the last two, by default of transformer; tiny takes points of gaussians8 for the latents, and binary
digits, or with text binary people, for the codes.
Command: python -m experiments.train --config=configs/samplers.py:gmm --config.data.dir=runs/rae --workdir=runs/rae-gmm
Time: not measured; --check tells.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import recipes, schema

RECIPES = {  # {density: (steps, batch size, learning rate)}
  "gmm": (2000, 512, 5e-3),
  "flow": (10000, 256, 1e-3),
  "two_stage": (10000, 128, 3e-4),
  "autoregressive": (5000, 64, 1e-3),
  "transformer": (10000, 64, 1e-3),
  "masked": (10000, 64, 1e-3),
}
TRANSFORMER = {"width": 128, "layers": 4, "heads": 4, "dropout": 0.1, "drop": 0.1}
SECTIONS: dict[str, dict[str, Any]] = {
  "gmm": {"components": 10},
  "flow": {"layers": 8, "width": 128, "depth": 2},
  "autoregressive": {"num_codes": 512, "layers": 10, "channels": 64},
  "transformer": {"num_codes": 512, **TRANSFORMER},
  "masked": {"num_codes": 512, **TRANSFORMER, "steps": 12},
}
TINY = {
  "gmm": {"sampler": {"components": 3}},
  "flow": {"sampler": {"width": 8}},
  "two_stage": {"model": {"z_dim": 2, "width": 8}},
  "autoregressive": {"sampler": {"num_codes": 2, "layers": 2, "channels": 8}},
  "transformer": {"sampler": {"num_codes": 2, "layers": 1, "width": 8, "heads": 2}},
  "masked": {"sampler": {"num_codes": 2, "layers": 1, "width": 8, "heads": 2}},
}


def get_config(argument: str = "") -> ConfigDict:
  _, words = recipes.variants(argument, ("latents",), (*RECIPES, "label", "text"))
  given = recipes.one_of(words, ("label", "text"), "")
  name = recipes.one_of(words, RECIPES, "transformer" if given else "gmm")
  num_steps, batch_size, learning_rate = RECIPES[name]
  config = schema.get_config("vae" if name == "two_stage" else "sampler")
  config.data.name = "latents"
  config.train.update({"num_steps": num_steps, "batch_size": batch_size})
  for section in (config.log, config.evaluate, config.checkpoint):
    section.every = config.train.get_ref("num_steps") // 10
  config.samples.every = 0
  if name == "two_stage":
    layers = {"width": 1024, "layers": 3, "activation": "relu", "kernel_init": "glorot_uniform", "skip": True}
    config.model = {"name": "mlp", "z_dim": 64, **layers}
    config.likelihood = {"name": "shared_gaussian", "squash": False}  # z has no range
    steps = config.train.get_ref("num_steps") // 2
    config.objective.beta = {"name": "linear", "start": 0.0, "end": 1.0, "steps": steps}
    config.checkpoint.update({"keep_best": "elbo", "best_mode": "max"})
  else:
    config.sampler = {"name": "transformer" if name == "masked" else name, **SECTIONS[name]}
    config.checkpoint.keep_best = "nll"
  rate = {"name": "cosine", "start": learning_rate, "end": 0.0, "steps": config.train.get_oneway_ref("num_steps")}
  config.optim = recipes.adam(rate)
  if given:
    if name not in ("transformer", "masked"):
      raise ValueError(f"variant {given} is one of transformer and masked, not of {name}; leave it out")
    config.sampler.given = given
  if given == "text":
    config.data.text = {"name": "words", "length": 20}
  if "tiny" in words and "num_codes" in SECTIONS.get(name, {}):
    recipes.use_dataset(config, "emoji_people" if given == "text" else "digits", image_size=8)
    config.data.update({"channels": 1, "binarize": "dynamic"})
  elif "tiny" in words:
    recipes.use_dataset(config, "gaussians8")
  return recipes.finish(config, words, **TINY[name])
