"""Whether a GAN's game is going well: how varied its pictures are beside real ones, and the alarms of its metrics."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from common.algorithm import Alarm
from common.parallel import batch_gather
from common.types import Array, Images, Mean, Metrics
from gan.losses import AdversarialLoss

WINDOW = 500  # steps: a bad spell of a sound run is shorter
COLLAPSE_WINDOW = 2000  # steps: networks that start from small weights take 1,000 to draw more than one picture
WON = 0.01  # of what D loses who tells nothing apart
LOST = 1.1
COVERED = 0.3  # share of the real pictures that sound runs have within reach from step 2,000 on: 0.6 and more
RESTLESS = 0.01  # an update's norm over that of the parameters; most sound runs have 0.001 to 0.008
UNEQUAL = 2.5  # D's such ratio over G's; 0.3 to 1.7 in sound runs of equal learning rates
STILL = 0.02


def variety(real: Images, fake: Images, mask: Array, axis_name: str | None) -> Metrics:
  """How far pictures lie apart, and how many real ones are some picture's nearest, in pixels; generated and real.

  Half the real rows are looked for: by the other half, and by as many generated ones. A real picture is found if it is
  the nearest one to some picture of the other set. See `summarize`.

  Args:
    real: [B, H, W, C], B / devices where there is a device axis.
    fake: the same.
    mask: [B], 0 on padding.
    axis_name: the device axis, None for the global view.
  """
  real, fake, mask = (batch_gather(x.reshape(x.shape[0], -1), axis_name) for x in (real, fake, mask))
  half = real.shape[0] // 2
  if not half:
    return {}
  hidden, others, drawn = real[0 : 2 * half : 2], real[1::2][:half], fake[0 : 2 * half : 2]
  there, others_there = mask[0 : 2 * half : 2, 0], mask[1::2][:half, 0]
  pairs = there[:, None] * there * (1.0 - jnp.eye(half))

  def apart(x: Array) -> Mean:
    return Mean(jnp.sum(_distances(x, x) * pairs), jnp.sum(pairs))

  def found(x: Array, x_there: Array) -> Mean:
    nearest = jnp.argmin(jnp.where(there > 0, _distances(x, hidden), jnp.inf), axis=1)
    hits = jnp.zeros(half).at[nearest].max(x_there)
    return Mean(jnp.sum(hits * there), jnp.sum(there))

  return {
    "real_distance": apart(hidden),
    "fake_distance": apart(drawn),
    "found_by_real": found(others, others_there),
    "found_by_fake": found(drawn, there),
  }


def _distances(x: Array, y: Array) -> Array:
  """Euclidean, [M, D], [N, D] -> [M, N]."""
  products = jnp.dot(x, y.T, precision=lax.Precision.HIGHEST)
  squares = jnp.sum(x**2, axis=1)[:, None] + jnp.sum(y**2, axis=1) - 2.0 * products
  return jnp.sqrt(jnp.maximum(squares, 0.0))


def summarize(means: Mapping[str, Any]) -> dict[str, float]:
  """Of `variety`'s means, generated over real: "pixel_diversity" and "pixel_coverage".

  The first is the ratio of mean distances: near 0 where all pictures are one. The second falls to k / n where k of n
  modes are left, and further where those are single pictures; it is at 1 for the real distribution.
  """
  ratios = {"pixel_diversity": ("fake_distance", "real_distance"), "pixel_coverage": ("found_by_fake", "found_by_real")}
  return {name: means[a] / means[b] for name, (a, b) in ratios.items() if means.get(b)}


def alarms(loss: AdversarialLoss, discriminator_loss_scale: float) -> tuple[Alarm, ...]:
  """What a person should know of; the rules on D's loss are those of its kind.

  At equal logits, on the boundary where there is one, a bounded loss has the value of telling nothing apart, and 0
  where D is always right. A Wasserstein loss has neither: all that it tells is which of the two means is the larger.
  """
  at = jnp.asarray(loss.boundary or 0.0)
  chance = discriminator_loss_scale * float(loss.discriminator(at, at))
  norms = tuple(f"train/{net}_{name}_norm" for net in "dg" for name in ("update", "param"))
  logits = ("train/d_loss", "train/d_real_logit", "train/d_fake_logit")
  lost_remedy = "more discriminator updates (n_critic), a higher discriminator_optim.learning_rate, a larger D"
  of_loss: tuple[Alarm, ...]
  if chance:
    won_remedy = (
      "a lower discriminator_optim.learning_rate, a penalty (r1, gradient_penalty), spectral norm or dropout in D"
    )
    accuracies = [f"train/{name}" for name in loss.accuracies(at, at)]
    of_loss = (
      Alarm(
        f"D is winning: its loss is below {WON:.0%} of {chance:.3g}, that of telling nothing apart",
        ("train/d_loss", *accuracies, "train/g_grad_norm"),
        lambda d_loss, *_: d_loss.max() <= WON * chance,
        WINDOW,
        won_remedy,
      ),
      Alarm(
        f"D is losing: its loss is above {LOST} times {chance:.3g}, that of telling nothing apart",
        logits,
        lambda d_loss, *_: d_loss.min() >= LOST * chance,
        WINDOW,
        lost_remedy,
      ),
    )
  else:
    of_loss = (
      Alarm(
        "D is losing: it scores generated pictures above real ones",
        logits,
        lambda d_loss, *_: d_loss.min() > 0.0,
        2 * WINDOW,  # a critic that starts flat takes some hundred steps to tilt the right way
        lost_remedy,
      ),
    )
  return (
    *of_loss,
    Alarm(
      f"D moves in leaps: over {RESTLESS:.0%} of its parameters' norm an update, and {UNEQUAL} times what G does",
      norms,
      lambda *norms: _pace(norms, 0) > RESTLESS and _pace(norms, 0) > UNEQUAL * _pace(norms, 1),
      WINDOW,
      "a lower discriminator_optim.learning_rate, train.grad_clip, a larger batch",
    ),
    Alarm(
      f"D stands still: its updates, beside its parameters, are under {STILL:.0%} of G's",
      norms,
      lambda *norms: _pace(norms, 0) < STILL * _pace(norms, 1),
      WINDOW,
      "a higher discriminator_optim.learning_rate; a loss that does not saturate; look at d_grad_norm",
    ),
    Alarm(
      f"mode collapse: fewer than {COVERED:.0%} of the real pictures are found that other real ones would find",
      ("validation/pixel_coverage", "validation/pixel_diversity"),
      lambda coverage, _: coverage.max() < COVERED,
      COLLAPSE_WINDOW,
      "a lower learning rate, fewer discriminator updates, a penalty (r1, dragan), minibatches with more variety, or "
      "the last good checkpoint; if it never was better, a bug between z and the pictures",
    ),
  )


def _pace(norms: tuple[Any, ...], net: int) -> float:
  """Update norm over parameter norm, of D (0) or G (1); medians, since small weights grow in one leap."""
  update, param = norms[2 * net : 2 * net + 2]
  return float(np.median(update) / np.median(param))
