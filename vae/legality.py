"""Which values of two fields of a VAE's config do not go together, as common/legality.py has it.

That the words below are true of the code is tested.
"""

from collections.abc import Collection
from typing import Any

from common.data.spec import Spec
from common.legality import Data, Rule, clashes, typed

POINTS = ("deterministic",)  # posteriors without a density
GAUSSIANS = ("diagonal_gaussian",)
CODES = "vector_quantized"
UNIFORM = "uniform_codes"
RATELESS = ("reconstruction", "rae")  # objectives in which no prior has a part
FITTED = ("mixture", "vampprior", "flow")  # priors with parameters
HIERARCHIES = ("hvae", "conv_hvae")
CONVOLUTIONAL = ("conv", "infogan", "resnet", "conv_hvae")
DISCRETE = ("discretized_logistic", "logistic_mixture", "categorical")  # likelihoods of 256 levels
NO_RATE = "a point has no density, so that its rate is infinite"
NORMAL = typed("prior", name="standard_normal")
GAUSSIAN = typed("posterior", name="diagonal_gaussian")
BOUND = typed("objective", name="elbo")
NO_PRIOR, NO_LABELS = typed("prior", name="none"), typed("conditioning", name="none")
UNLEARNED = "a draw of a component has no gradient, so that the weights would not be learned"


def _exactly_one(a: Collection[str], b: Collection[str]) -> Any:
  """Of the two values one is in its set and the other is not in its own."""
  return lambda first, second: (first in a) != (second in b)


def _both(a: Collection[str], b: Collection[str]) -> Any:
  return lambda first, second: first in a and second in b


def _only(a: Collection[str], b: Collection[str]) -> Any:
  """A value of ``a`` goes with nothing but values of ``b``."""
  return lambda first, second: first in a and second not in b


RULES: tuple[Rule, ...] = (
  Rule(
    "posterior.name",
    "objective.name",
    _only(POINTS, (*RATELESS, "wae")),
    NO_RATE,
    f"{GAUSSIAN}, or an objective of {', '.join(RATELESS)} and wae",
  ),
  Rule(
    "posterior.name",
    "objective.name",
    lambda posterior, objective: objective in RATELESS and posterior not in POINTS,
    "without a rate nothing keeps its draws apart from a point",
    f"{typed('posterior', name='deterministic')}, or {BOUND} and {NORMAL}",
  ),
  Rule(
    "prior.name",
    "objective.name",
    _exactly_one(("none",), RATELESS),
    "a prior is needed just where the objective has a rate or draws of it",
    f"{NO_PRIOR} with reconstruction and rae, {NORMAL} with all else",
  ),
  Rule(
    "prior.name",
    "posterior.name",
    _exactly_one((UNIFORM,), (CODES,)),
    "codes have a distribution over codes, and nothing else has",
    f"{typed('prior', name=UNIFORM)} with {CODES}, {NORMAL} with all else",
  ),
  Rule(
    "posterior.name",
    "objective.name",
    _only((CODES,), ("elbo",)),
    "its rate is the same for all images and all draws",
    BOUND,
  ),
  Rule(
    "prior.name",
    "posterior.name",
    lambda prior, posterior: prior == "vampprior" and posterior not in GAUSSIANS,
    "its components are posteriors, whose densities at other images' z must be known",
    f"{GAUSSIAN} or {NORMAL}",
  ),
  Rule(
    "prior.name",
    "conditioning.name",
    lambda prior, conditioning: prior == "vampprior" and conditioning != "none",
    "its pseudo-inputs have no labels",
    f"{NO_LABELS} or {NORMAL}",
  ),
  Rule(
    "posterior.name",
    "prior.name",
    _both(POINTS, FITTED),
    "without a rate the prior would learn nothing",
    f"{NORMAL}, and a sampler that is fitted afterwards",
  ),
  Rule(
    "prior.name",
    "objective.name",
    _both(("mixture",), ("wae",)),
    UNLEARNED,
    f"{NORMAL} or {typed('objective', name='info_vae', alpha=0.5)}",
  ),
  Rule(
    "prior.name",
    "objective.alpha",
    lambda prior, alpha: prior == "mixture" and alpha == 1,
    UNLEARNED,
    f"{NORMAL} or --config.objective.alpha=0.5, which leaves some of the rate",
  ),
  Rule(
    "objective.name",
    "posterior.name",
    lambda objective, posterior: objective == "free_bits" and posterior not in GAUSSIANS,
    "it needs the rate of each unit",
    f"{GAUSSIAN} or {BOUND}",
  ),
  Rule(
    "objective.name",
    "prior.name",
    _only(("free_bits",), ("standard_normal",)),
    "it needs the rate of each unit, which only independent units have",
    f"{NORMAL} or {BOUND}",
  ),
  Rule(
    "objective.name",
    "model.name",
    _both(("free_bits",), HIERARCHIES),
    "the rate of a lower layer's units is not that to N(0, I)",
    f"{BOUND} or a network of one layer",
  ),
  Rule(
    "objective.gradient",
    "posterior.name",
    lambda gradient, posterior: gradient != "standard" and posterior not in GAUSSIANS,
    "it needs log q at a given z without q's gradient",
    f"--config.objective.gradient=standard or {GAUSSIAN}",
  ),
  Rule(
    "objective.gradient",
    "model.name",
    lambda gradient, model: gradient != "standard" and model in HIERARCHIES,
    "q of a lower layer depends on the z above it, whose gradient would be lost",
    "--config.objective.gradient=standard or a network of one layer",
  ),
  Rule(
    "posterior.name",
    "model.name",
    _both(("inverse_autoregressive",), HIERARCHIES),
    "its networks would be the same for both layers",
    f"{GAUSSIAN} or a network of one layer",
  ),
  Rule(
    "posterior.name",
    "model.name",
    _both((*POINTS, CODES), HIERARCHIES),
    "the prior of a lower layer is a Gaussian",
    f"{GAUSSIAN} and {NORMAL}, or a network of one layer",
  ),
  Rule(
    "posterior.name",
    "objective.draws",
    lambda posterior, draws: posterior == CODES and draws > 1,
    "its draws are all the same, and the codebook would be a mean of as many",
    "--config.objective.draws=1",
  ),
  Rule(
    "likelihood.name",
    "objective.name",
    _both(("optimal_gaussian",), ("importance_weighted",)),
    "it is no density, so that draws have no weights",
    f"{typed('likelihood', name='shared_gaussian')} or {BOUND}",
  ),
  Rule(
    "conditioning.name",
    "model.name",
    lambda conditioning, model: conditioning != "none" and model in HIERARCHIES,
    "the prior of a lower layer has been given labels, which draws of it lack",
    f"{NO_LABELS} or a network of one layer",
  ),
  Rule(
    "conditioning.name",
    "data.name",
    lambda conditioning, data: conditioning != "none" and not data.num_classes,
    "it needs labels, and this data set has none",
    NO_LABELS,
  ),
  Rule(
    "model.name",
    "data.name",
    lambda model, data: model in CONVOLUTIONAL and data.kind != "images",
    "it is for images, and these data are points",
    f"{typed('model', name='mlp', z_dim=2)} or the network gated_mlp",
  ),
  Rule(
    "prior.name",
    "data.name",
    lambda prior, data: prior == "vampprior" and data.kind != "images",
    "its pseudo-inputs are held to the pixel range, and these data are points",
    NORMAL,
  ),
  Rule(
    "likelihood.name",
    "data.name",
    lambda likelihood, data: (
      likelihood not in ("gaussian", "shared_gaussian", "optimal_gaussian") and data.kind != "images"
    ),
    "it is for pixels, and these data are points",
    typed("likelihood", name="gaussian"),
  ),
  Rule(
    "likelihood.name",
    "data.dequantize",
    lambda likelihood, dequantize: likelihood in DISCRETE and dequantize,
    "it is of the 256 levels, which the noise would move",
    f"--config.data.dequantize=False or {typed('likelihood', name='gaussian')}",
  ),
)


def illegal(config: Any, spec: Spec) -> list[str]:
  """What does not go together in ``config`` for data of ``spec``, one line a pair: fields, values, why, the way out."""
  return clashes(RULES, values(config, spec))


def values(config: Any, spec: Spec) -> dict[str, Any]:
  """{field: value} of what rules may speak of; a field that a config does not have is left out."""
  names = ("model", "likelihood", "posterior", "prior", "objective", "conditioning", "corruption")
  sections = {name: dict(config[name]) for name in names if hasattr(config[name], "items")}
  found = {
    f"{name}.{key}": section[key]
    for name, section in sections.items()
    for key in ("name", "gradient", "draws", "alpha")
    if key in section
  }
  found["data.name"] = Data(config.data.name, spec.kind, spec.num_classes)
  found["data.dequantize"] = config.data.dequantize
  return found
