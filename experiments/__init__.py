"""Command lines. FAMILIES names the code that trains a config's family, imported on use."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # they import JAX, for which neither --help nor a wrong setting should wait
  from common.algorithm import Trainable
  from common.spec import Spec

FAMILIES = {
  "gan": "gan.from_config:from_config",
  "vae": "vae.from_config:from_config",
  "sampler": "vae.samplers.from_config:from_config",
  "classifier": "common.features.classifier:from_config",
}


def build_algorithm(config: Any, spec: "Spec", axis_name: str | None = None) -> "Trainable":
  """The algorithm of ``config`` for data of ``spec``; no arrays are made."""
  module, function = FAMILIES[config.family].split(":")
  return getattr(importlib.import_module(module), function)(config, spec, axis_name)
