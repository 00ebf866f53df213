"""Terms that are added to the discriminator's loss, by name, one file a term.

A penalty is ``(apply_d, real, fake, rows) -> [B]``: what is added for each pair of a real and a fake image
[B, H, W, C], with its weight. ``apply_d`` gives logits [B], and keeps BatchNorm statistics and spectral vectors as they
are; ``rows`` are keys [B] to draw from. Derivatives by vjp only: common/conv.py has no forward mode.
"""

from collections.abc import Mapping
from typing import Any

from common.build import ConfigError, build, choose
from gan.penalties.gradient_penalty import GradientPenalty

PENALTIES = {"gradient_penalty": GradientPenalty}


def build_penalties(section: Mapping[str, Any]) -> dict[str, GradientPenalty]:
  """``{name: {arguments}}`` of a config -> {name: penalty}.

  Raises:
    ConfigError: an unknown name, or arguments that it refuses.
  """
  built = {}
  for name, arguments in section.items():
    choose(PENALTIES, name, "config.penalties")
    if not hasattr(arguments, "items"):
      raise ConfigError(f"config.penalties.{name}={arguments!r} is not a section {{'argument': value}}")
    built[name] = build(PENALTIES, {"name": name, **arguments}, f"penalties.{name}")
  return built
