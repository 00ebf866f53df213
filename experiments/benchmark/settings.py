"""A config with the defaults of its networks filled in, for the side that does not have them."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict


def settings_of(config: ConfigDict, algorithm: Any) -> dict[str, Any]:
  """The config as a plain mapping that JSON can hold; ``algorithm`` is what it builds."""
  if config.family == "vae":
    modules = {name: getattr(algorithm.network, name) for name in ("model", "posterior")}
  else:
    modules = {"generator": algorithm.generator, "discriminator": algorithm.discriminator.network}
  settings = config.to_dict()
  for section, module in modules.items():
    fields = {field.name: getattr(module, field.name) for field in dataclasses.fields(module)}
    plain = {name: value for name, value in fields.items() if isinstance(value, bool | int | float | str | tuple)}
    settings[section] = {**plain, "name": settings[section]["name"]}
  return settings
