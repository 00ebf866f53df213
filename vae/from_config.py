"""From a config to a VAE; no arrays are made."""

from typing import Any

from common.build import build
from common.data.spec import Spec
from common.ema import build_ema
from common.errors import ConfigError
from common.optim import OPTIMIZERS, build_optimizer
from vae.corruptions import CORRUPTIONS
from vae.flow_posteriors import InverseAutoregressive, Planar
from vae.flows.coupling import CouplingFlow
from vae.legality import illegal
from vae.likelihoods import LIKELIHOODS
from vae.model import LatentVariableModel
from vae.networks import NETWORKS
from vae.objectives import OBJECTIVES
from vae.posteriors import Deterministic, DiagonalGaussian
from vae.priors import Mixture, NoPrior, StandardNormal, VampPrior
from vae.vae import VAE
from vae.vector_quantizer import UniformCodes, VectorQuantized

POSTERIORS: dict[str, Any] = {
  "diagonal_gaussian": DiagonalGaussian,
  "inverse_autoregressive": InverseAutoregressive,
  "planar": Planar,
  "deterministic": Deterministic,
  "vector_quantized": VectorQuantized,
}
PRIORS: dict[str, Any] = {
  "standard_normal": StandardNormal,
  "mixture": Mixture,
  "vampprior": VampPrior,
  "flow": CouplingFlow,
  "uniform_codes": UniformCodes,
  "none": NoPrior,
}


def _none() -> bool:
  """p(x): labels are not used."""
  return False


def _concat() -> bool:
  """p(x|label): one-hot values beside the encoder's x and the decoder's z (Sohn et al. 2015; p(z) has no label)."""
  return True


CONDITIONING = {"none": _none, "concat": _concat}
TABLES: dict[str, Any] = {  # {section of the config: what it chooses from}
  "model": NETWORKS,
  "posterior": POSTERIORS,
  "prior": PRIORS,
  "likelihood": LIKELIHOODS,
  "objective": OBJECTIVES,
  "conditioning": CONDITIONING,
  "corruption": CORRUPTIONS,
  "optim": OPTIMIZERS,
}


def from_config(config: Any, spec: Spec, axis_name: str | None = None) -> VAE:
  """The VAE of ``config`` for data of ``spec``.

  Raises:
    ConfigError: a section that names no known choice, or a pair that does not go together.
  """
  if found := illegal(config, spec):
    raise ConfigError(found[0])
  if "z_dim" not in config.model:
    raise ConfigError("config.model lacks z_dim, the size of the latents")
  z_dim = config.model.z_dim
  context = {
    "image_shape": spec.image_shape,
    "pixel_range": spec.pixel_range,
    "dtype": config.dtype,
    "axis_name": axis_name,
    "bn_axis_name": axis_name if config.parallel.sync_batch_norm else None,
  }
  likelihood = build(LIKELIHOODS, config.likelihood, "likelihood", **context)
  posterior = build(POSTERIORS, config.posterior, "posterior", **context)
  stats = {"num_stats": posterior.num_stats, "num_params": likelihood.num_params}
  model = build(NETWORKS, config.model, "model", **context, **stats)
  quantized = isinstance(posterior, VectorQuantized)
  codes = {"num_codes": posterior.num_codes, "code_dim": posterior.code_dim} if quantized else {}
  prior = build(PRIORS, config.prior, "prior", z_dim=z_dim, **context, **codes)
  depth = 1 + len(model.lower_z_dims)
  return VAE(
    spec=spec,
    network=LatentVariableModel(
      model=model,
      posterior=posterior,
      prior=prior,
      likelihood=likelihood,
      layers=("z",) if depth == 1 else tuple(f"z{depth - i}" for i in range(depth)),
    ),
    objective=build(OBJECTIVES, config.objective, "objective"),
    corruption=build(CORRUPTIONS, config.corruption, "corruption", **context),
    classes=spec.num_classes if build(CONDITIONING, config.conditioning, "conditioning") else 0,
    tx=build_optimizer(config.optim, "optim", config.train.grad_clip),
    ema=build_ema(config.ema),
    axis_name=axis_name,
  )
