"""Shows whether a GAN's game goes well: how varied its pictures are beside real ones, and alarms on its metrics."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from common.algorithm import Alarm
from common.parallel import batch_gather
from common.types import Array, Images, Mean, Metrics
from gan.losses import AdversarialLoss

WINDOW = 500  # steps; a bad spell of a sound run is shorter
COLLAPSE_WINDOW = 2000  # steps; networks that start from small weights take 1,000 to draw more than one picture
WON = 0.01  # share of the D loss of chance
LOST = 1.1
COVERED = 0.3  # share of the real pictures within reach; sound runs reach 0.6 and more from step 2,000 on
RESTLESS = 0.01  # norm of an update over that of the parameters; 0.001 to 0.008 in most sound runs
UNEQUAL = 2.5  # D's ratio of the two norms over G's; 0.3 to 1.7 in sound runs with equal learning rates
STILL = 0.02  # the same
ALIKE = 0.01  # share of a restored picture's distance to the image


def variety(real: Images, fake: Images, mask: Array, axis_name: str | None) -> Metrics:
  """Measures how far apart pictures lie, and how many real ones are the nearest to some picture, in pixel space.

  Every second real row is a target. The other real rows, and equally many generated ones, each hit the nearest target.
  See `summarize`.

  Args:
    real: [B, H, W, C], or B / devices rows if there is a device axis.
    fake: the same.
    mask: [B], 0 on padding.
    axis_name: the device axis; None for the global view.
  """
  real, fake, mask = (batch_gather(x.reshape(x.shape[0], -1), axis_name) for x in (real, fake, mask))
  half = real.shape[0] // 2
  if not half:
    return {}
  target, other, drawn = real[0 : 2 * half : 2], real[1::2][:half], fake[0 : 2 * half : 2]
  there, other_there = mask[0 : 2 * half : 2, 0], mask[1::2][:half, 0]
  pairs = there[:, None] * there * (1.0 - jnp.eye(half))

  def apart(x: Array) -> Mean:
    return Mean(jnp.sum(_distances(x, x) * pairs), jnp.sum(pairs))

  def found_by(x: Array, x_there: Array) -> Mean:
    nearest = jnp.argmin(jnp.where(there > 0, _distances(x, target), jnp.inf), axis=1)
    hits = jnp.zeros(half).at[nearest].max(x_there)
    return Mean(jnp.sum(hits * there), jnp.sum(there))

  return {
    "real_distance": apart(target),
    "fake_distance": apart(drawn),
    "found_by_real": found_by(other, other_there),
    "found_by_fake": found_by(drawn, there),
  }


def answers(image: Images, fake: Images, other: Images, mask: Array) -> Metrics:
  """Measures two pictures that were drawn for one input: their distance, and that of the first to the image."""

  def apart(x: Images, y: Images) -> Mean:
    return Mean.of(jnp.sqrt(jnp.sum((x - y) ** 2, axis=(1, 2, 3))), mask)

  return {"draw_distance": apart(fake, other), "image_distance": apart(fake, image)}


def _distances(x: Array, y: Array) -> Array:
  """Computes Euclidean distances, [M, D], [N, D] -> [M, N]."""
  products = jnp.dot(x, y.T, precision=lax.Precision.HIGHEST)
  squares = jnp.sum(x**2, axis=1)[:, None] + jnp.sum(y**2, axis=1) - 2.0 * products
  return jnp.sqrt(jnp.maximum(squares, 0.0))


def summarize(means: Mapping[str, Any]) -> dict[str, float]:
  """Divides `variety`'s means of generated pictures by those of real ones, and those of `answers`.

  "pixel_diversity" is the ratio of mean distances, near 0 if all pictures are one. "pixel_coverage" is the ratio of
  hits: 1 for the real distribution, k / n if k of n modes are left, and less if those are single pictures.
  "draw_diversity" is the distance of two draws for one input over that to the image, 0 if a restoring G ignores z.
  """
  ratios = {
    "pixel_diversity": ("fake_distance", "real_distance"),
    "pixel_coverage": ("found_by_fake", "found_by_real"),
    "draw_diversity": ("draw_distance", "image_distance"),
  }
  return {name: means[a] / means[b] for name, (a, b) in ratios.items() if means.get(b)}


def alarms(loss: AdversarialLoss, discriminator_loss_scale: float, *, draws: bool = False) -> tuple[Alarm, ...]:
  """Returns the alarms of a game with this loss; those on D's loss depend on its kind.

  ``draws`` says that G restores and is given latents.
  """
  return (*_loss_alarms(loss, discriminator_loss_scale), *PACE_ALARMS, COLLAPSE, *([IGNORED] if draws else []))


def _loss_alarms(loss: AdversarialLoss, scale: float) -> tuple[Alarm, ...]:
  """Compares D's loss with that of chance, at equal logits (on the boundary, if there is one).

  A bounded loss is positive there and 0 if D is always right. A Wasserstein loss is 0 there and unbounded: its sign
  tells only which of the two means is larger.
  """
  at = jnp.asarray(loss.boundary or 0.0)
  chance = scale * float(loss.discriminator(at, at))
  logits = ("train/d_loss", "train/d_real_logit", "train/d_fake_logit")
  remedy = "more discriminator updates (n_critic), a higher discriminator_optim.learning_rate, a larger D"
  if not chance:
    signal = "D is losing: it scores generated pictures above real ones"
    # A critic that starts flat takes some hundred steps to tilt the right way.
    return (Alarm(signal, logits, lambda d_loss, *_: d_loss.min() > 0.0, 2 * WINDOW, remedy),)
  winning = Alarm(
    f"D is winning: its loss is below {WON:.0%} of the loss of chance, {chance:.3g}",
    ("train/d_loss", *(f"train/{name}" for name in loss.accuracies(at, at)), "train/g_grad_norm"),
    lambda d_loss, *_: d_loss.max() <= WON * chance,
    WINDOW,
    "a lower discriminator_optim.learning_rate, a penalty (r1, gradient_penalty), spectral norm or dropout in D",
  )
  signal = f"D is losing: its loss is above {LOST} times the loss of chance, {chance:.3g}"
  return winning, Alarm(signal, logits, lambda d_loss, *_: d_loss.min() >= LOST * chance, WINDOW, remedy)


def _pace(update: np.ndarray, param: np.ndarray) -> float:
  """Divides the norms of updates and parameters; medians, since small weights grow in one leap."""
  return float(np.median(update) / np.median(param))


_NORMS = tuple(f"train/{net}_{name}_norm" for net in "dg" for name in ("update", "param"))
PACE_ALARMS = (
  Alarm(
    f"D moves in leaps: over {RESTLESS:.0%} of its parameters' norm per update, and {UNEQUAL} times G's share",
    _NORMS,
    lambda *norms: _pace(*norms[:2]) > max(RESTLESS, UNEQUAL * _pace(*norms[2:])),
    WINDOW,
    "a lower discriminator_optim.learning_rate, train.grad_clip, a larger batch",
  ),
  Alarm(
    f"D stands still: its updates, relative to its parameters, are below {STILL:.0%} of G's",
    _NORMS,
    lambda *norms: _pace(*norms[:2]) < STILL * _pace(*norms[2:]),
    WINDOW,
    "a higher discriminator_optim.learning_rate; a loss that does not saturate; look at d_grad_norm",
  ),
)
COLLAPSE = Alarm(
  f"mode collapse: generated pictures cover less than {COVERED:.0%} of the real ones that other real ones cover",
  ("validation/pixel_coverage", "validation/pixel_diversity"),
  lambda coverage, _: coverage.max() < COVERED,
  COLLAPSE_WINDOW,
  "a lower learning rate, fewer discriminator updates, a penalty (r1, dragan), minibatches with more variety, or "
  "the last good checkpoint; if it never was better, a bug between z and the pictures",
)
IGNORED = Alarm(
  f"G ignores z: two draws for one input differ by less than {ALIKE:.0%} of their distance to the image",
  ("validation/draw_diversity", "validation/draw_distance"),
  lambda diversity, _: diversity.max() < ALIKE,
  COLLAPSE_WINDOW,
  "a lower weight of the content terms, which ask for one answer; no latents (z_dim=0) where one is wanted",
)
