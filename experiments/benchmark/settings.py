"""A config with the defaults of its networks filled in, for the side that does not have them."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

_SECTIONS = {"gan": ("generator", "discriminator"), "vae": ("model", "posterior")}


def settings_of(config: ConfigDict, algorithm: Any) -> dict[str, Any]:
  """The config as a plain mapping that JSON can hold; ``algorithm`` is what it builds."""
  settings = config.to_dict()
  owner = algorithm.network if config.family == "vae" else algorithm
  for section in _SECTIONS[config.family]:
    module = getattr(owner, section)
    fields = {field.name: getattr(module, field.name) for field in dataclasses.fields(module)}
    plain = {name: value for name, value in fields.items() if isinstance(value, bool | int | float | str | tuple)}
    settings[section] = {**plain, "name": settings[section]["name"]}
  return settings
