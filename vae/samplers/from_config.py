"""From a config to a density of latents; no arrays are made."""

from typing import Any

from common.build import build
from common.ema import build_ema
from common.optim import build_optimizer
from common.spec import Spec
from vae.corruptions import Nothing
from vae.flows.coupling import CouplingFlow
from vae.likelihoods.gaussian import SharedGaussian
from vae.model import LatentVariableModel
from vae.networks.mlp import MLP
from vae.objectives import OBJECTIVES
from vae.posteriors import DiagonalGaussian
from vae.priors import StandardNormal
from vae.samplers.autoregressive import CodeMaps, autoregressive
from vae.samplers.fitted import Fitted
from vae.samplers.gmm import FullMixture, start_mixture
from vae.samplers.two_stage import SecondStage
from vae.vae import VAE


def second_stage(z_dim: int, width: int = 1024, layers: int = 3) -> LatentVariableModel:
  """A VAE of z under a Gaussian with one learned deviation (Dai & Wipf 2019, whose code has this network).

  What is near N(0, I) is close to the point where u says nothing of z; the inputs of the last layers lead away from it.

  Args:
    z_dim: size of z, and of its own latents.
    width: units of a hidden layer.
    layers: hidden layers on each side, of ReLU units.
  """
  likelihood = SharedGaussian(pixel_range=(0.0, 1.0), squash=False)  # z has no range
  posterior = DiagonalGaussian()
  network = MLP(
    (1, 1, z_dim),
    num_stats=posterior.num_stats,
    num_params=likelihood.num_params,
    z_dim=z_dim,
    width=width,
    layers=layers,
    activation="relu",
    kernel_init="glorot_uniform",
    skip=True,
  )
  return LatentVariableModel(network, posterior, StandardNormal(z_dim), likelihood)


SAMPLERS: dict[str, Any] = {
  "gmm": FullMixture,
  "flow": CouplingFlow,
  "two_stage": second_stage,
  "autoregressive": autoregressive,
}


def from_config(config: Any, spec: Spec, axis_name: str | None = None) -> Fitted | SecondStage:
  """The density that ``config`` names, of latents of ``spec``.

  Raises:
    ConfigError: an unknown name, or arguments that it refuses.
  """
  module = build(SAMPLERS, config.sampler, "sampler", z_dim=spec.image_shape[-1])
  tx, ema = build_optimizer(config.optim, "optim", config.train.grad_clip), build_ema(config.ema)
  if isinstance(module, LatentVariableModel):
    objective = build(OBJECTIVES, config.objective, "objective")
    return SecondStage(VAE(spec, module, objective, Nothing(), 0, tx, ema, axis_name))
  start = start_mixture if isinstance(module, FullMixture) else None
  return Fitted(spec, module, not isinstance(module, CodeMaps), start, tx, ema, axis_name)
