"""The commands, and the families of models that they train.

A family is a module with ``from_config(config, spec, axis_name)``, which returns a `common.algorithm.Trainable`. It may
have ``TABLES``, {section of the config: {name: constructor}}, from which --help and the defaults of arguments are read.
``config.family`` is a short name of FAMILIES or the import path of any other module.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # they import JAX; neither --help nor a wrong setting should wait for it
  from common.algorithm import Trainable
  from common.data.spec import Spec

ROOT = Path(__file__).resolve().parents[1]
# `python -m` searches the user's folder first, where a configs/ or common.py of the user would be imported for ours.
sys.path.insert(0, str(ROOT))
for _name in ("common", "configs", "gan", "vae"):
  if Path(importlib.import_module(_name).__file__ or "").resolve().parent != ROOT / _name:
    raise ImportError(f"{sys.modules[_name]}, imported before, has the name of a package of this project; rename it")
sys.path.remove(str(ROOT))

FAMILIES = {
  "gan": "gan.from_config",
  "vae": "vae.from_config",
  "vae_gan": "gan.vae_gan",
  "sampler": "vae.samplers.fitted",
  "classifier": "common.evaluation.features.classifier",
  "regression": "common.restoration.regression",
}


def family(name: str) -> ModuleType:
  """Imports the module of a family, which is a name in FAMILIES or an import path.

  Raises:
    ConfigError: no such module, or a module without ``from_config``.
  """
  from common.errors import ConfigError, nearest

  path = FAMILIES.get(name, name)
  way_out = f"take one of {', '.join(FAMILIES)} or the import path of a module{nearest(name, FAMILIES)}"
  if not all(part.isidentifier() for part in path.split(".")):
    raise ConfigError(f'config.family="{name}" is not a family; {way_out}')
  try:
    module = importlib.import_module(path)
  except ModuleNotFoundError as error:
    if error.name is None or not f"{path}.".startswith(f"{error.name}."):
      raise  # the module exists, and an import of its own fails
    raise ConfigError(f'config.family="{name}" is not a family, and no module has this name; {way_out}') from None
  if not hasattr(module, "from_config"):
    raise ConfigError(f'config.family="{name}": {module.__file__} lacks the function from_config; {way_out}')
  return module


def choices(name: str) -> dict[str, Mapping[str, Callable[..., Any]]]:
  """Returns {section: {name: constructor}}, from which the sections of a family's configs choose."""
  from common.data.tokenizer import TOKENIZERS
  from common.ema import EMAS

  return {"ema": EMAS, "data.text": TOKENIZERS, **getattr(family(name), "TABLES", {})}


def build_algorithm(config: Any, spec: "Spec", axis_name: str | None = None) -> "Trainable":
  """Builds the algorithm of ``config`` for data of ``spec``; no arrays are made."""
  return family(config.family).from_config(config, spec, axis_name)
