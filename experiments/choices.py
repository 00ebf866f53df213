"""Which table a config's section chooses from: for --help, and for tests of all that can be named."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from common.build import parameters
from common.ema import EMAS
from common.optim import OPTIMIZERS
from common.schedules import SCHEDULES


def tables(family: str) -> dict[str, Mapping[str, Callable[..., Any]]]:
  """{section: {name: constructor}} of a family."""
  return {"ema": EMAS, **_of_family(family)}


def _of_family(family: str) -> dict[str, Mapping[str, Callable[..., Any]]]:
  if family == "gan":
    from gan import conditioning, losses
    from gan.augment import AUGMENTATIONS
    from gan.networks import DISCRIMINATORS, GENERATORS
    from gan.penalties import PENALTIES

    return {
      "generator": GENERATORS,
      "discriminator": DISCRIMINATORS,
      "loss": losses.LOSSES,
      "penalties": PENALTIES,
      "augment": AUGMENTATIONS,
      "top_k": SCHEDULES,
      "conditioning": conditioning.CONDITIONING,
      "generator_optim": OPTIMIZERS,
      "discriminator_optim": OPTIMIZERS,
    }
  if family == "vae":
    from vae import likelihoods, objectives
    from vae.corruptions import CORRUPTIONS
    from vae.from_config import CONDITIONING, POSTERIORS, PRIORS
    from vae.networks import NETWORKS

    return {
      "model": NETWORKS,
      "posterior": POSTERIORS,
      "prior": PRIORS,
      "likelihood": likelihoods.LIKELIHOODS,
      "objective": objectives.OBJECTIVES,
      "conditioning": CONDITIONING,
      "corruption": CORRUPTIONS,
      "optim": OPTIMIZERS,
    }
  if family == "sampler":
    from vae.samplers.from_config import SAMPLERS

    return {"sampler": SAMPLERS, "optim": OPTIMIZERS}
  from common.features import classifier

  return {"model": classifier.NETWORKS, "optim": OPTIMIZERS}


def doc(config: Any, path: str) -> str:
  """One line on a field of a section: the choices of a name, or what the constructor says of an argument."""
  if path.startswith("evaluate.metrics."):
    from common.metrics.catalogue import SAMPLE_METRICS, constructor_of

    name, _, key = path.removeprefix("evaluate.metrics.").partition(".")
    made = constructor_of(SAMPLE_METRICS, name)
    return _argument(made, key) if key else _summary(made)
  section, _, key = path.partition(".")
  table = tables(config.family).get(section)
  if table is None:
    return ""
  if section == "penalties":  # a section of sections, named by their keys
    name, _, key = key.partition(".")
    settings, constructor = config[section][name], table[name]
  else:
    settings = config[section]
    constructor = table[settings.name]
    if key == "name":
      return f"one of {', '.join(table)}: {_summary(constructor)}"
  if not key:
    return _summary(constructor)
  if table is SCHEDULES:
    return f"{key} of the schedule"
  argument, _, part = key.partition(".")
  if part:
    schedule = SCHEDULES[settings[argument].name]
    return f"one of {', '.join(SCHEDULES)}: {_summary(schedule)}" if part == "name" else f"{part} of the schedule"
  return _argument(constructor, key)


def _summary(constructor: Callable[..., Any]) -> str:
  return (inspect.getdoc(constructor) or "").partition("\n")[0]


def _argument(constructor: Callable[..., Any], key: str) -> str:
  """The line ``key: ...`` of the docstring's Attributes or Args, else the type."""
  for line in (inspect.getdoc(constructor) or "").splitlines():
    if line.strip().startswith(f"{key}:"):
      return line.strip().partition(":")[2].strip()
  annotation = parameters(constructor)[key].annotation
  return getattr(annotation, "__name__", str(annotation))
