"""Shows whether a VAE's latents are in use: figures for each unit and code, and alarms on the metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from common.algorithm import Alarm
from common.types import Array, Mean, Metrics
from vae.codes import codes_in_use, perplexity
from vae.gaussian import unit_kl
from vae.model import LatentVariableModel, Terms

ACTIVE = 0.01  # variance over the images of a unit's posterior mean (Burda et al. 2016, Section 4.2)
WINDOW = 1000  # steps; some recipes start from weights with a rate of 0, and take 500 to leave it
COLLAPSED = 0.1  # nats per image
CLIPPED = 0.25
AT_REST = 0.95  # least over greatest value, in the window, of a schedule under which a rule is judged
DEAD = 0.5  # share of the codes
REMEDY = "a lower beta or a warm-up of it, a weaker decoder, a lower learning rate; does the decoder read z?"


def look(terms: Terms, other_distortion: Array, log_var_range: Sequence[float], mask: Array) -> Metrics:
  """Measures the posterior of a batch by the first draw of ``terms`` [k, B]; see `summarize`.

  Each Gaussian layer yields one figure per unit [Z]: "unit_rate" is KL(q(z_i|x) || N(0, 1)) in nats, and
  "clipped_log_var" the share of all log-variances at an end of ``log_var_range``, where their gradient is 0.
  "other_distortion" is -log p(x|z) under the z of another image [B].
  """
  metrics = {name: Mean.of(value[0], mask) for name, value in terms.figures.items()}
  metrics["other_distortion"] = Mean.of(other_distortion, mask)
  for suffix, (mean, log_var) in _by_suffix(terms.moments).items():
    mean, log_var = mean[0], log_var[0]
    values = {"rate": unit_kl(mean, log_var), "mean": mean, "square": mean**2, "variance": jnp.exp(log_var)}
    metrics |= {f"unit_{key}{suffix}": Mean.of(value, mask) for key, value in values.items()}
    if log_var_range:
      low, high = log_var_range
      clipped = jnp.mean((log_var <= low) | (log_var >= high), axis=-1, dtype=jnp.float32)
      metrics[f"clipped_log_var{suffix}"] = Mean.of(clipped, mask)
  return metrics


def _by_suffix(layers: Mapping[str, Any]) -> dict[str, Any]:
  """Renames layers to the suffix of their metrics: "" for a single layer, "_z2" for one of several."""
  return {f"_{name}" if len(layers) > 1 else "": value for name, value in layers.items()}


def summarize(means: Mapping[str, Any]) -> dict[str, float]:
  """Derives figures from `look`'s means over a split.

  "active_units" counts the units whose posterior mean varies over the images by more than `ACTIVE`. Over all images' z,
  "aggregate_mean" is the root mean square over units of their mean, and "aggregate_variance" the mean over units of
  their variance (0 and 1 if the aggregate posterior has the moments of N(0, I)). "z_gain" is the distortion, in nats,
  that an image's own z saves over that of another image. Codes yield "perplexity" and "codes_in_use".
  """
  figures: dict[str, float] = {}
  for key in means:
    if key.startswith("unit_mean"):
      suffix = key.removeprefix("unit_mean")
      mean = np.asarray(means[key])
      between = np.asarray(means[f"unit_square{suffix}"]) - mean**2
      figures[f"active_units{suffix}"] = float(np.sum(between > ACTIVE))
      figures[f"aggregate_mean{suffix}"] = float(np.sqrt(np.mean(mean**2)))
      figures[f"aggregate_variance{suffix}"] = float(np.mean(between + np.asarray(means[f"unit_variance{suffix}"])))
  if "other_distortion" in means:
    figures["z_gain"] = float(means["other_distortion"]) - float(means["distortion"])
  if "code_usage" in means:
    usage = jnp.asarray(means["code_usage"])
    figures |= {"perplexity": float(perplexity(usage)), "codes_in_use": float(codes_in_use(usage))}
  return figures


def alarms(network: LatentVariableModel, *, warms_up: bool) -> tuple[Alarm, ...]:
  """Returns the alarms that this posterior allows.

  If beta ``warms_up``, clipped log-variances are judged only while beta rests above 0: under a beta near 0 the best
  posterior has no variance.
  """
  posterior = network.posterior
  rules = [
    Alarm(
      f"the decoder ignores z: another image's z costs it less than {COLLAPSED} nats per image",
      ("validation/z_gain", "validation/distortion"),
      lambda gain, _: gain.max() < COLLAPSED,
      WINDOW,
      REMEDY,
    )
  ]
  if network.has_rate and not network.has_codes:
    signal = f"posterior collapse: the rate is below {COLLAPSED} nats per image, so z carries no information on x"
    metrics = ("train/rate", "train/distortion")
    rules.append(Alarm(signal, metrics, lambda rate, _: rate.max() < COLLAPSED, WINDOW, REMEDY))
  for suffix, layer in _by_suffix({name: name for name in network.layers}).items() if network.gaussian else ():
    signal = f"posterior collapse: no unit of {layer} is active"
    metrics = (f"validation/active_units{suffix}", "validation/rate")
    rules.append(Alarm(signal, metrics, lambda active, _: active.max() < 1, WINDOW, REMEDY))
    if posterior.log_var_range:
      rules.append(
        Alarm(
          f"over {CLIPPED:.0%} of {layer}'s log-variances are at an end of posterior.log_var_range, without gradient",
          (f"validation/clipped_log_var{suffix}", *(("train/beta",) if warms_up else ())),
          lambda clipped, *beta: clipped.min() > CLIPPED and all(x.min() >= AT_REST * x.max() > 0 for x in beta),
          2 * WINDOW,
          "a wider posterior.log_var_range, a lower learning rate, another scale of the pixels",
        )
      )
  if network.has_codes:
    rules.append(
      Alarm(
        f"dead codes: fewer than {DEAD:.0%} of {posterior.num_codes} are in use",
        ("validation/codes_in_use", "validation/perplexity"),
        lambda used, _: used.max() < DEAD * posterior.num_codes,
        2 * WINDOW,
        posterior.remedy,
      )
    )
  return tuple(rules)
