"""Whether a VAE's latents are in use: what is known of each unit, and the alarms of its metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from common.alarms import Alarm
from common.algorithm import Array, Mean, Metrics

ACTIVE = 0.01  # variance over the images of a unit's posterior mean (Burda et al. 2016, Section 4.2)
WINDOW = 1000  # steps: some recipes start from weights that give no rate, and take 500 to leave it
COLLAPSED = 0.1  # nats an image
CLIPPED = 0.25


def units(mean: Array, log_var: Array, log_var_range: Sequence[float], mask: Array) -> Metrics:
  """Of a Gaussian posterior's mean and log-variance, [B, Z] each, a figure a unit [Z]; see `summarize`.

  "unit_rate" is KL(q(z_i|x) || N(0, 1)) in nats. "clipped_log_var" is the share of all log-variances at an end of
  ``log_var_range``, where they get no gradient; there is none where the range is ().
  """
  rate = 0.5 * (mean**2 + jnp.exp(log_var) - 1.0 - log_var)
  found = {
    "unit_rate": Mean.of(rate, mask),
    "unit_mean": Mean.of(mean, mask),
    "unit_square": Mean.of(mean**2, mask),
  }
  if log_var_range:
    low, high = log_var_range
    clipped = jnp.mean((log_var <= low) | (log_var >= high), axis=-1, dtype=jnp.float32)
    found["clipped_log_var"] = Mean.of(clipped, mask)
  return found


def summarize(means: Mapping[str, Any]) -> dict[str, float]:
  """Of `units`' means: "active_units", those whose posterior mean varies over the images by more than `ACTIVE`."""
  if "unit_mean" not in means:
    return {}
  variance = np.asarray(means["unit_square"]) - np.asarray(means["unit_mean"]) ** 2
  return {"active_units": float(np.sum(variance > ACTIVE))}


def alarms(*, gaussian: bool, clips: bool) -> tuple[Alarm, ...]:
  """What a person should know of.

  Args:
    gaussian: the posterior is one that `units` sees.
    clips: and its log-variances have a range.
  """
  remedy = (
    "a lower beta or a warm-up of it, free bits, a weaker decoder, a lower learning rate; does the decoder read z?"
  )
  found = [
    Alarm(
      f"posterior collapse: the rate is below {COLLAPSED} nats an image, so z says nothing of x",
      ("train/rate", "train/distortion"),
      lambda rate, _: rate.max() < COLLAPSED,
      WINDOW,
      remedy,
    )
  ]
  if gaussian:
    found.append(
      Alarm(
        "posterior collapse: no unit of z is active",
        ("validation/active_units", "validation/rate"),
        lambda active, _: active.max() < 1,
        WINDOW,
        remedy,
      )
    )
  if clips:
    found.append(
      Alarm(
        f"more than {CLIPPED:.0%} of the log-variances are at an end of posterior.log_var_range, without a gradient",
        ("validation/clipped_log_var",),
        lambda clipped: clipped.min() > CLIPPED,
        2 * WINDOW,
        "a wider posterior.log_var_range, a lower learning rate, another scale of the pixels",
      )
    )
  return tuple(found)
