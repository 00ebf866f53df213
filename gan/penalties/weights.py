"""The weight of a penalty: a number, or a schedule of the discriminator's updates."""

from common.errors import ConfigError
from common.schedules import Scheduled, build_schedule
from common.types import Array
from gan.penalties.seen import Seen


def weight_at(weight: Scheduled, seen: Seen) -> Array:
  """Its value at this update."""
  return build_schedule(weight, "weight")(seen.updates)


def check_weight(weight: Scheduled, every: int) -> None:
  """Raises ConfigError for a weight or an interval of 0 or less."""
  build_schedule(weight, "weight")
  if isinstance(weight, int | float) and not weight > 0:
    raise ConfigError(f"weight={weight} must be above 0; leave the penalty out for none")
  if every < 1:
    raise ConfigError(f"every={every} must be 1 or more: at each so many-th update of the discriminator")
