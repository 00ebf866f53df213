"""All metrics by name; their modules are imported on use."""

import importlib
from collections.abc import Mapping
from typing import Any

from common.build import build
from common.errors import ConfigError, nearest

SAMPLE_METRICS = {  # of `common.evaluation.metrics.score.SampleMetric`
  "frechet": "frechet:FrechetDistance",
  "kernel_distance": "kernel_distance:KernelDistance",
  "inception_score": "inception_score:InceptionScore",
  "precision_recall": "precision_recall:PrecisionRecall",
  "density_coverage": "density_coverage:DensityCoverage",
  "memorisation": "memorisation:Memorisation",
  "parzen": "parzen:ParzenWindow",
  "stacked_modes": "modes:StackedModes",
  "mixture_modes": "modes:MixtureModes",
  # Of pictures with labels.
  "intra_frechet": "class_conditional:IntraFrechet",
  "label_agreement": "class_conditional:LabelAgreement",
  "nearest_neighbour_error": "nearest_neighbour_error:NearestNeighbourError",
  # Of pairs: picture i against real picture i.
  "psnr": "psnr:Psnr",
  "ssim": "ssim:Ssim",
  "ms_ssim": "ssim:MultiScaleSsim",
  "feature_distance": "feature_distance:FeatureDistance",
  "retrieval": "retrieval:Retrieval",  # of pictures with captions
  "diversity": "diversity:Diversity",  # of several draws for what a model is given
}
AMONG_ALL = ("retrieval",)  # metrics whose ``real`` is followed by all other pictures of the set
AGAINST_TRAINING = ("memorisation",)  # metrics whose ``real`` must be the training images
LIKELIHOOD_METRICS = {  # of `common.evaluation.metrics.likelihood.LikelihoodMetric`
  "bound": "bound:Bound",
  "nll": "importance:ImportanceNll",
  "ais": "annealed:AnnealedNll",
  "latents": "latents:Latents",
  "bits_per_dim": "bits_per_dim:BitsPerDim",
}
GROUPS = {"kid": ("kernel_distance",), "prdc": ("precision_recall", "density_coverage")}


def sections_of(metrics: str | Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
  """Returns {name: {setting: value}} of such a mapping, or of names with commas; names of GROUPS are resolved.

  Raises:
    ConfigError: an unknown name, or no name at all.
  """
  known = [*SAMPLE_METRICS, *LIKELIHOOD_METRICS, "model"]
  if isinstance(metrics, str):
    words = filter(None, metrics.split(","))
    metrics = {name: {} for word in words for name in GROUPS.get(word, (word,))}
  for name in metrics:
    if name not in known:
      raise ConfigError(f'--metrics: "{name}" is not one of {", ".join([*known, *GROUPS])}{nearest(name, known)}')
  if not metrics:
    raise ConfigError(f"--metrics is empty; name some of {', '.join(known)}")
  return dict(metrics)


def build_metrics(table: Mapping[str, str], sections: Mapping[str, Any], path: str) -> dict[str, Any]:
  """Builds {name: metric} from {name: {setting: value}}.

  Args:
    table: SAMPLE_METRICS or LIKELIHOOD_METRICS.
    sections: as in config.evaluate.metrics.
    path: their path in the config, for errors.

  Raises:
    ConfigError: an unknown name, or a setting that the metric does not take.
  """
  built = {}
  for name, settings in sections.items():
    if name not in table:
      raise ConfigError(f'config.{path}: "{name}" is not one of {", ".join(table)}{nearest(name, table)}')
    if not hasattr(settings, "items"):
      raise ConfigError(f"config.{path}.{name}={settings!r} is not a section {{'setting': value}}")
    built[name] = build({name: constructor_of(table, name)}, {"name": name, **settings}, f"{path}.{name}")
  return built


def constructor_of(table: Mapping[str, str], name: str) -> Any:
  """Returns the class of the metric ``name``."""
  module, constructor = table[name].split(":")
  return getattr(importlib.import_module(f"common.evaluation.metrics.{module}"), constructor)
