"""From a config to a VAE; no arrays are made."""

from typing import Any

from common.build import build, choose
from common.data.spec import Spec
from common.ema import build_ema
from common.errors import require
from common.optim import OPTIMIZERS, build_optimizer
from vae.conditioning import CONDITIONING
from vae.corruptions import CORRUPTIONS, Corruption
from vae.likelihoods import LIKELIHOODS
from vae.model import LatentVariableModel
from vae.networks import NETWORKS
from vae.objectives import OBJECTIVES
from vae.posteriors import POSTERIORS
from vae.priors import PRIORS, ConditionalNormal, NoPrior, VampPrior
from vae.vae import VAE

TABLES: dict[str, Any] = {  # {section of the config: what it chooses from}
  "model": {name: architecture.settings for name, architecture in NETWORKS.items()},
  "posterior": POSTERIORS,
  "prior": PRIORS,
  "likelihood": LIKELIHOODS,
  "objective": OBJECTIVES,
  "conditioning": CONDITIONING,
  "corruption": CORRUPTIONS,
  "optim": OPTIMIZERS,
}
NORMAL = "--config.prior=\"{'name': 'standard_normal'}\""
GAUSSIAN = "--config.posterior=\"{'name': 'diagonal_gaussian'}\""
ELBO = "--config.objective=\"{'name': 'elbo'}\""
ONE_LAYER = "a network of one layer, as --config.model=\"{'name': 'gated_mlp', 'z_dim': 40}\""
UNCONDITIONAL = "--config.conditioning=\"{'name': 'none'}\""
UNET = "--config.model=\"{'name': 'unet', 'z_dim': 40}\""
HOLE = "--config.data.degradation=\"({'name': 'box', 'height': 14, 'width': 14},)\""
WORDS = "--config.data.text=\"{'name': 'words'}\""
# {what an objective needs of a posterior: the field that asks for it, why, and what to do without it}
OBJECTIVE_NEEDS = {
  "density": (
    "objective.name",
    "a point has no density, so that its rate is infinite",
    f"{GAUSSIAN}, or one of the objectives reconstruction, rae and wae",
  ),
  "point": (
    "objective.name",
    "without a rate nothing keeps its draws from shrinking to a point",
    f"--config.posterior=\"{{'name': 'deterministic'}}\", or {ELBO} and {NORMAL}",
  ),
  "real": ("objective.name", "the rate of codes is the same for all images and all draws", ELBO),
  "gaussian": (
    "objective.gradient",
    "it needs log q at a given z without the gradient of q's parameters",
    f"--config.objective.gradient=standard or {GAUSSIAN}",
  ),
}
# {what a prior needs of a posterior: why, and what to do without it}
PRIOR_NEEDS = {
  "real": ("codes have a distribution over codes", "--config.prior=\"{'name': 'uniform_codes'}\""),
  "codes": ("it is a distribution over codes", NORMAL),
  "density": ("the rate trains it, and the rate of a point is infinite", f"{GAUSSIAN} or {NORMAL}"),
  "gaussian": (
    "its components are posteriors, whose densities must be known at the z of other images",
    f"{GAUSSIAN} or {NORMAL}",
  ),
}


def check(config: Any, spec: Spec) -> None:
  """Raises ConfigError if two choices of ``config`` do not go together, or one does not go with data of ``spec``.

  Each choice states in its own class what it needs, gives or is.
  """
  objective = build(OBJECTIVES, config.objective, "objective", axis_name=None)
  posterior = choose(POSTERIORS, config.posterior.name, "config.posterior.name")
  prior = choose(PRIORS, config.prior.name, "config.prior.name")
  likelihood = choose(LIKELIHOODS, config.likelihood.name, "config.likelihood.name")
  network = choose(NETWORKS, config.model.name, "config.model.name").encoder
  pseudo_inputs = prior is VampPrior

  for need, (field, why, way_out) in OBJECTIVE_NEEDS.items():
    gives = need not in objective.needs or need in posterior.gives
    require(gives, config, "posterior.name", field, why, way_out)
  why = "a prior is needed exactly if its rate or its draws are in the objective"
  way_out = NORMAL if objective.uses_prior else "--config.prior=\"{'name': 'none'}\""
  require(objective.uses_prior == (prior is not NoPrior), config, "prior.name", "objective.name", why, way_out)
  for need, (why, way_out) in PRIOR_NEEDS.items():
    gives = need not in prior.needs or need in posterior.gives
    require(gives, config, "prior.name", "posterior.name", why, way_out)

  if hasattr(network, "below"):  # a hierarchy
    why = "a lower layer needs a posterior with a density and without parameters of its own"
    require("layers" in posterior.gives, config, "posterior.name", "model.name", why, f"{GAUSSIAN} or {ONE_LAYER}")
    why = "q of a lower layer depends on the z above it, whose gradient would be lost"
    way_out = f"--config.objective.gradient=standard or {ONE_LAYER}"
    require(not objective.doubly, config, "objective.gradient", "model.name", why, way_out)
  if network.makes_map:
    why = "a map needs as many statistics for each latent"
    way_out = f"{GAUSSIAN} or a network without maps"
    require("map" in posterior.gives, config, "posterior.name", "model.name", why, way_out)

  _check_given(config, spec)
  if spec.kind != "images":
    why = "it is for images, and these data are points"
    way_out = "--config.model=\"{'name': 'mlp', 'z_dim': 2}\" or the network gated_mlp"
    require(not network.images_only, config, "model.name", "data.name", why, way_out)
    require(not pseudo_inputs, config, "prior.name", "data.name", "its pseudo-inputs are images", NORMAL)
    way_out = "--config.likelihood=\"{'name': 'gaussian'}\""
    require(not likelihood.pixels, config, "likelihood.name", "data.name", why, way_out)
  if config.data.dequantize:
    why = "it is a probability of the 256 levels, which the noise would move"
    way_out = "--config.data.dequantize=False or --config.likelihood=\"{'name': 'gaussian'}\""
    require(not likelihood.levels, config, "likelihood.name", "data.dequantize", why, way_out)


def _check_given(config: Any, spec: Spec) -> None:
  """Raises ConfigError if the data lack what the model is given, or a network or the prior does not take it."""
  given = choose(CONDITIONING, config.conditioning.name, "config.conditioning.name").rows
  prior, network = PRIORS[config.prior.name], NETWORKS[config.model.name].encoder
  if "label" in given:
    why = "it needs labels, and this data set has none"
    require(spec.num_classes > 0, config, "conditioning.name", "data.name", why, UNCONDITIONAL)
  if "text" in given:
    why = f"it needs captions as rows of words, which {WORDS} reads from a set that has some"
    require(bool(spec.vocabulary), config, "conditioning.name", "data.text.name", why, UNCONDITIONAL)
  if "seen" in given:
    why = "it needs what is left of an image that something was taken from"
    require(bool(config.data.degradation), config, "conditioning.name", "data.degradation", why, HOLE)
    why = "this network takes values, and what is seen of an image are maps"
    require(network.takes_maps, config, "model.name", "conditioning.name", why, UNET)
  why = "this network takes maps of what is seen of an image, and this model is given none"
  restores = "--config.conditioning=\"{'name': 'seen'}\""
  fits = "seen" in given or not network.takes_maps
  require(fits, config, "model.name", "conditioning.name", why, f"{ONE_LAYER}, or {restores} and {HOLE}")
  why = "its pseudo-inputs have nothing of what the model is given"
  way_out = f"{UNCONDITIONAL} or {NORMAL}"
  require(not given or prior is not VampPrior, config, "prior.name", "conditioning.name", why, way_out)
  why = "it depends on what the model is given, and this one is given nothing"
  require(bool(given) or prior is not ConditionalNormal, config, "prior.name", "conditioning.name", why, NORMAL)


def from_config(config: Any, spec: Spec, axis_name: str | None = None) -> VAE:
  """Builds the VAE of ``config`` for data of ``spec``.

  Raises:
    ConfigError: a section that names an unknown choice, or two choices that do not go together.
  """
  check(config, spec)
  context = {
    "image_shape": spec.image_shape,
    "pixel_range": spec.pixel_range,
    "dtype": config.dtype,
    "num_classes": spec.num_classes,
    "vocabulary": spec.vocabulary,
    "axis_name": axis_name,
    "bn_axis_name": axis_name if config.parallel.sync_batch_norm else None,
  }
  likelihood = build(LIKELIHOODS, config.likelihood, "likelihood", **context)
  posterior = build(POSTERIORS, config.posterior, "posterior", **context)
  stats = {"num_stats": posterior.num_stats, "num_params": likelihood.num_params}
  _, *sides = NETWORKS[config.model.name]
  encoder, decoder = (build({config.model.name: side}, config.model, "model", **context, **stats) for side in sides)
  codes = {key: getattr(posterior, key) for key in ("num_codes", "code_dim") if "codes" in posterior.gives}
  sizes = {key: getattr(encoder, key) for key in ("channels", "blocks") if encoder.takes_maps}  # of what is seen
  depth = 1 + len(encoder.lower_z_dims)
  return VAE(
    spec=spec,
    network=LatentVariableModel(
      encoder=encoder,
      decoder=decoder,
      posterior=posterior,
      prior=build(PRIORS, config.prior, "prior", z_dim=config.model.z_dim, **context, **codes),
      likelihood=likelihood,
      conditioning=build(CONDITIONING, config.conditioning, "conditioning", **context, **sizes),
      layers=("z",) if depth == 1 else tuple(f"z{depth - i}" for i in range(depth)),
    ),
    objective=build(OBJECTIVES, config.objective, "objective", **context),
    corruption=Corruption(
      build(CORRUPTIONS, config.corruption, "corruption", **context), spec.image_shape, spec.pixel_range
    ),
    tx=build_optimizer(config.optim, "optim", config.train.grad_clip),
    ema=build_ema(config.ema),
    axis_name=axis_name,
  )
