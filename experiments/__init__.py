"""Command lines. FAMILIES names the code that trains a config's family, imported on use.

That is a function of (config, spec, axis_name), in a module whose CHOICES, if any, --help lists: {section: table}.
"""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from common.build import choose

if TYPE_CHECKING:  # they import JAX, for which neither --help nor a wrong setting should wait
  from common.algorithm import Trainable
  from common.spec import Spec

FAMILIES = {
  "gan": "gan.from_config:from_config",
  "vae": "vae.from_config:from_config",
  "sampler": "vae.samplers.from_config:from_config",
  "classifier": "common.features.classifier:from_config",
}


def family(name: str) -> tuple[ModuleType, Callable[..., "Trainable"]]:
  """The module that trains a config's family, and its function of FAMILIES.

  Raises:
    ConfigError: a name that is not in FAMILIES.
  """
  path, _, function = choose(FAMILIES, name, "config.family").partition(":")
  module = importlib.import_module(path)
  return module, getattr(module, function)


def build_algorithm(config: Any, spec: "Spec", axis_name: str | None = None) -> "Trainable":
  """The algorithm of ``config`` for data of ``spec``; no arrays are made."""
  return family(config.family)[1](config, spec, axis_name)
