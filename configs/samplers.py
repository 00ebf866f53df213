"""How a VAE's latents get a density afterwards (`experiments.fit_sampler`, which names the sampler and the run).

- ``gmm``: ten Gaussians of full covariance, as Ghosh et al. 2020 (RAE, arXiv:1903.12436) have them. Here they are
  fitted by gradient, from clusters; the FIDs that their code quotes are of scikit-learn's BayesianGaussianMixture,
  variational, with a weight concentration of 1/10.
- ``flow``: eight affine couplings (Dinh et al. 2017, arXiv:1605.08803).
- ``two_stage``: a second VAE, three layers of 1,024 on each side (Dai & Wipf 2019, arXiv:1903.05789). Their code trains
  it on batches of 64 by Adam from 1e-4, halved after every 300 of 800 epochs, on z that is drawn anew from q(z|x) in
  each epoch and is not standardised; here z is drawn once and standardised. Here beta rises from 0 to 1 over the first
  half of the steps: else, after so few of them, its rate is next to 0 where the latents are near N(0, I).
- ``autoregressive``: a gated PixelCNN of the codes of a VQ-VAE (van den Oord et al. 2017, arXiv:1711.00937).

The learning rate falls to 0 on a cosine; drawn from is the state that was best on the validation split.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from configs import recipes, schema

NUM_STEPS = {"gmm": 2000, "flow": 10000, "two_stage": 10000, "autoregressive": 5000}
LEARNING_RATE = {"gmm": 5e-3, "flow": 1e-3, "two_stage": 3e-4, "autoregressive": 1e-3}
BATCH_SIZE = {"gmm": 512, "flow": 256, "two_stage": 128, "autoregressive": 64}
SETTINGS: dict[str, dict[str, Any]] = {
  "gmm": {"components": 10},
  "flow": {"layers": 8, "width": 128, "depth": 2},
  "two_stage": {"layers": 3, "width": 1024, "skip": True, "warm_up": 0.5},
  "autoregressive": {"layers": 10, "channels": 64},
}
NAMES = tuple(SETTINGS)
EVALUATIONS = 10


def get_config(sampler: str, settings: Mapping[str, Any], num_steps: int = 0) -> ConfigDict:
  """The config of a sampler, one of NAMES, of latents in a file.

  Args:
    sampler: its name.
    settings: what its constructor takes, in the place of SETTINGS or besides.
    num_steps: of training; 0 for the sampler's own.
  """
  config = schema.get_config("sampler")
  config.data.update({"name": "latents", "pixel_range": (0.0, 1.0)})
  steps = num_steps or NUM_STEPS[sampler]
  call = 10 if steps % 10 == 0 else 1
  every = steps // EVALUATIONS if steps % (EVALUATIONS * call) == 0 else steps  # the last step is one of them
  config.train.update({"num_steps": steps, "batch_size": BATCH_SIZE[sampler], "steps_per_call": call})
  recipes.set_every(config, log=every, rest=every)
  config.samples.every = 0
  of_bound = sampler == "two_stage"
  config.checkpoint.update({"keep_best": "elbo" if of_bound else "nll", "best_mode": "max" if of_bound else "min"})
  config.sampler = {"name": sampler, **SETTINGS[sampler], **settings}
  rate = {
    "name": "cosine",
    "start": LEARNING_RATE[sampler],
    "end": 0.0,
    "steps": config.train.get_oneway_ref("num_steps"),
  }
  config.optim = recipes.adam(rate)
  return recipes.finish(config)
