"""From a config to a density of latents; no arrays are made."""

from typing import Any, NamedTuple

from common.build import build
from common.data.spec import Spec
from common.ema import build_ema
from common.errors import ConfigError
from common.optim import OPTIMIZERS, build_optimizer
from vae.corruptions import Nothing
from vae.flows.coupling import CouplingFlow
from vae.likelihoods.gaussian import SharedGaussian
from vae.model import LatentVariableModel
from vae.networks import mlp
from vae.objectives import Elbo
from vae.posteriors import DiagonalGaussian
from vae.priors import StandardNormal
from vae.samplers.autoregressive import autoregressive
from vae.samplers.fitted import Fitted
from vae.samplers.gmm import FullMixture, start_mixture
from vae.vae import VAE


class SecondVAE(NamedTuple):
  """A VAE of z, and the share of the steps over which its beta rises from 0 to 1."""

  model: LatentVariableModel
  warm_up: float


def second_stage(z_dim: int, width: int = 1024, layers: int = 3, skip: bool = False, warm_up: float = 0.0) -> SecondVAE:
  """A VAE of z under a Gaussian with one learned deviation (Dai & Wipf 2019, whose code has this network).

  Latents near N(0, I) are close to the point where u says nothing of z; ``skip`` and ``warm_up`` lead away from it.
  Runs without these two settings had neither.

  Args:
    z_dim: size of z, and of its own latents.
    width: units of a hidden layer.
    layers: hidden layers on each side, of ReLU units.
    skip: whether the last layer of each side sees that side's input too, as in the paper's code.
    warm_up: share of the training steps over which beta rises from 0 to 1, which the paper does not do.

  Raises:
    ConfigError: a warm_up that is no share.
  """
  if not 0 <= warm_up <= 1:
    raise ConfigError(f"warm_up={warm_up} must be a share of the steps, from 0 to 1")
  likelihood = SharedGaussian(pixel_range=(0.0, 1.0), squash=False)  # z has no range
  posterior = DiagonalGaussian()
  encoder, decoder = (
    side(
      (1, 1, z_dim),
      num_stats=posterior.num_stats,
      num_params=likelihood.num_params,
      z_dim=z_dim,
      width=width,
      layers=layers,
      activation="relu",
      kernel_init="glorot_uniform",
      skip=skip,
    )
    for side in (mlp.Encoder, mlp.Decoder)
  )
  return SecondVAE(LatentVariableModel(encoder, decoder, posterior, StandardNormal(z_dim), likelihood), warm_up)


SAMPLERS: dict[str, Any] = {
  "gmm": FullMixture,
  "flow": CouplingFlow,
  "two_stage": second_stage,
  "autoregressive": autoregressive,
}
TABLES: dict[str, Any] = {"sampler": SAMPLERS, "optim": OPTIMIZERS}


def from_config(config: Any, spec: Spec, axis_name: str | None = None) -> Fitted | VAE:
  """The density that ``config`` names, of latents of ``spec``.

  Raises:
    ConfigError: an unknown name, or arguments that it refuses.
  """
  module = build(SAMPLERS, config.sampler, "sampler", z_dim=spec.image_shape[-1])
  tx, ema = build_optimizer(config.optim, "optim", config.train.grad_clip), build_ema(config.ema)
  if isinstance(module, SecondVAE):
    steps = round(module.warm_up * config.train.num_steps)
    objective = Elbo({"name": "linear", "start": 0.0, "end": 1.0, "steps": steps} if steps else 1.0)
    return VAE(spec, module.model, objective, Nothing(), 0, tx, ema, axis_name)
  start = start_mixture if isinstance(module, FullMixture) else None
  return Fitted(spec, module, start, tx, ema, axis_name)
