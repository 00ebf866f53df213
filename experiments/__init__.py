"""Command lines. FAMILIES names the code that trains a config's family, imported on use.

That is a function of (config, spec, axis_name). Its module may have TABLES, {section: {name: constructor}}, which says
what the sections of a config choose from, for --help and for the defaults of arguments.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # they import JAX, for which neither --help nor a wrong setting should wait
  from common.algorithm import Trainable
  from common.data.spec import Spec

ROOT = Path(__file__).resolve().parents[1]
# `python -m` looks in the user's folder first, where a configs/ or a common.py of the user's would be found for ours.
sys.path.insert(0, str(ROOT))
for _name in ("common", "configs", "gan", "vae"):
  if Path(importlib.import_module(_name).__file__ or "").resolve().parent != ROOT / _name:
    raise ImportError(f"{sys.modules[_name]}, imported before, has the name of a package of this project; rename it")
sys.path.remove(str(ROOT))

FAMILIES = {
  "gan": "gan.from_config:from_config",
  "vae": "vae.from_config:from_config",
  "sampler": "vae.samplers.from_config:from_config",
  "classifier": "common.evaluation.features.classifier:from_config",
}


def family(name: str) -> tuple[ModuleType, Callable[..., "Trainable"]]:
  """The module that trains a config's family, and its function of FAMILIES.

  Raises:
    ConfigError: a name that is not in FAMILIES.
  """
  from common.build import choose

  path, _, function = choose(FAMILIES, name, "config.family").partition(":")
  module = importlib.import_module(path)
  return module, getattr(module, function)


def tables(name: str) -> dict[str, Mapping[str, Callable[..., Any]]]:
  """{section: {name: constructor}}: what the sections of a family's configs choose from."""
  from common.ema import EMAS

  return {"ema": EMAS, **getattr(family(name)[0], "TABLES", {})}


def build_algorithm(config: Any, spec: "Spec", axis_name: str | None = None) -> "Trainable":
  """The algorithm of ``config`` for data of ``spec``; no arrays are made."""
  return family(config.family)[1](config, spec, axis_name)
