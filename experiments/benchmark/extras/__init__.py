"""Further comparisons by name, one file each: ``run(plan) -> {"table": rows with a heading, ...raw figures}``."""

import importlib
from typing import Any

from experiments.benchmark.rounds import Plan

EXTRAS = ("batch_scaling", "devices", "seeds", "sampling", "nll", "frechet")


def run(name: str, plan: Plan) -> dict[str, Any]:
  """The figures of one of EXTRAS."""
  return importlib.import_module(f"experiments.benchmark.extras.{name}").run(plan)
