"""Whether a VAE's latents are in use: what is known of each unit and code, and the alarms of its metrics."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from common.algorithm import Alarm
from common.types import Array, Mean, Metrics
from vae.codes import codes_in_use, perplexity
from vae.gaussian import unit_kl
from vae.model import LatentVariableModel, Terms

ACTIVE = 0.01  # variance over the images of a unit's posterior mean (Burda et al. 2016, Section 4.2)
WINDOW = 1000  # steps: some recipes start from weights that give no rate, and take 500 to leave it
COLLAPSED = 0.1  # nats an image
CLIPPED = 0.25
AT_REST = 0.95  # of a schedule that may be judged under: its least value in the window over its greatest
DEAD = 0.5  # share of the codes
REMEDY = "a lower beta or a warm-up of it, a weaker decoder, a lower learning rate; does the decoder read z?"


def look(terms: Terms, other_distortion: Array, log_var_range: Sequence[float], mask: Array) -> Metrics:
  """What is known of the posterior, of terms [k, B] of which the first draw is looked at; see `summarize`.

  Of each Gaussian layer a figure a unit [Z]: "unit_rate" is KL(q(z_i|x) || N(0, 1)) in nats, and "clipped_log_var" the
  share of all log-variances at an end of ``log_var_range``, where they get no gradient. "other_distortion" is
  -log p(x|z) under the z of another image [B].
  """
  found = {name: Mean.of(value[0], mask) for name, value in terms.figures.items()}
  found["other_distortion"] = Mean.of(other_distortion, mask)
  for name, (mean, log_var) in _named(terms.moments):
    mean, log_var = mean[0], log_var[0]
    values = {"rate": unit_kl(mean, log_var), "mean": mean, "square": mean**2, "variance": jnp.exp(log_var)}
    found |= {f"unit_{key}{name}": Mean.of(value, mask) for key, value in values.items()}
    if log_var_range:
      low, high = log_var_range
      clipped = jnp.mean((log_var <= low) | (log_var >= high), axis=-1, dtype=jnp.float32)
      found[f"clipped_log_var{name}"] = Mean.of(clipped, mask)
  return found


def _named(layers: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
  """Of one layer without its name, of several with it: "", or "_z2"."""
  return ((f"_{name}" if len(layers) > 1 else "", value) for name, value in layers.items())


def summarize(means: Mapping[str, Any]) -> dict[str, float]:
  """Of `look`'s means over a split.

  "active_units" are those whose posterior mean varies over the images by more than `ACTIVE`; "aggregate_mean" and
  "aggregate_variance" are of all images' z: the root mean square over units of their mean, and the mean over units of
  their variance (0 and 1 where the aggregate posterior has the moments of N(0, I)). "z_gain" is how many nats of
  distortion an image's own z saves over that of another image. Of codes, "perplexity" and "codes_in_use".
  """
  found: dict[str, float] = {}
  for key in means:
    if key.startswith("unit_mean"):
      name = key.removeprefix("unit_mean")
      mean = np.asarray(means[key])
      between = np.asarray(means[f"unit_square{name}"]) - mean**2
      found[f"active_units{name}"] = float(np.sum(between > ACTIVE))
      found[f"aggregate_mean{name}"] = float(np.sqrt(np.mean(mean**2)))
      found[f"aggregate_variance{name}"] = float(np.mean(between + np.asarray(means[f"unit_variance{name}"])))
  if "other_distortion" in means:
    found["z_gain"] = float(means["other_distortion"]) - float(means["distortion"])
  if "code_usage" in means:
    usage = jnp.asarray(means["code_usage"])
    found |= {"perplexity": float(perplexity(usage)), "codes_in_use": float(codes_in_use(usage))}
  return found


def alarms(network: LatentVariableModel, *, warms_up: bool) -> tuple[Alarm, ...]:
  """What a person should know of; which signals there are depends on the posterior.

  Where beta ``warms_up``, log-variances at an end are judged only where it rests above 0: under a beta near 0 the best
  posterior has no variance.
  """
  found = [
    Alarm(
      f"the decoder ignores z: another image's z costs it less than {COLLAPSED} nats an image",
      ("validation/z_gain", "validation/distortion"),
      lambda gain, _: gain.max() < COLLAPSED,
      WINDOW,
      REMEDY,
    )
  ]
  if network.has_rate and not network.has_codes:
    found.append(
      Alarm(
        f"posterior collapse: the rate is below {COLLAPSED} nats an image, so z says nothing of x",
        ("train/rate", "train/distortion"),
        lambda rate, _: rate.max() < COLLAPSED,
        WINDOW,
        REMEDY,
      )
    )
  suffixes = [name for name, _ in _named(dict.fromkeys(network.layers))]
  if network.gaussian:
    found += [
      Alarm(
        f"posterior collapse: no unit of {layer} is active",
        (f"validation/active_units{suffix}", "validation/rate"),
        lambda active, _: active.max() < 1,
        WINDOW,
        REMEDY,
      )
      for layer, suffix in zip(network.layers, suffixes, strict=True)
    ]
  if network.gaussian and network.posterior.log_var_range:
    found += [
      Alarm(
        f"over {CLIPPED:.0%} of {layer}'s log-variances are at an end of posterior.log_var_range, without gradient",
        (f"validation/clipped_log_var{suffix}", *(("train/beta",) if warms_up else ())),
        lambda clipped, *beta: clipped.min() > CLIPPED and all(x.min() >= AT_REST * x.max() > 0 for x in beta),
        2 * WINDOW,
        "a wider posterior.log_var_range, a lower learning rate, another scale of the pixels",
      )
      for layer, suffix in zip(network.layers, suffixes, strict=True)
    ]
  if network.has_codes:
    codes = network.posterior.num_codes
    found.append(
      Alarm(
        f"dead codes: fewer than {DEAD:.0%} of posterior.num_codes={codes} are in use",
        ("validation/codes_in_use", "validation/perplexity"),
        lambda used, _: used.max() < DEAD * codes,
        2 * WINDOW,
        "posterior.restart above 0, posterior.kmeans_steps above 0, fewer codes, a larger code_dim or learning rate",
      )
    )
  return tuple(found)
