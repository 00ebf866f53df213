"""Adversarial losses by name: functions of logits, one value for each logit, to be minimised.

A discriminator has one logit for each image, [B], or one for each of its patches or pixels, [B, h, w].

In the equations D(x) is the logit; in those of `saturating` and `non_saturating`, and of `least_squares` with
``sigmoid=True``, it is the sigmoid of the logit.
"""

import dataclasses
import math
from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn

from common.errors import ConfigError
from common.parallel import batch_mean
from common.types import Array


@dataclasses.dataclass(frozen=True)
class AdversarialLoss:
  """Both players see both sets of logits, of one shape: relativistic losses need them.

  Attributes:
    discriminator: (real, fake) -> values of that shape.
    generator: (real, fake) -> values of that shape.
    boundary: the logit at which an image counts as neither real nor fake; None where only differences of logits matter.
    averaged: whether both functions take, in the place of logits, what `compared` makes of them.
  """

  discriminator: Callable[[Array, Array], Array]
  generator: Callable[[Array, Array], Array]
  boundary: float | None = 0.0
  averaged: bool = False

  def compared(self, real: Array, fake: Array, axis_name: str | None, mask: Array | None = None) -> tuple[Array, Array]:
    """Returns the logits or, if ``averaged``, D(x) - mean D(G(z)) and D(G(z)) - mean D(x).

    The means are those of the global batch, over all logits; gradients pass through them.

    Args:
      real, fake: the logits.
      axis_name: the device axis, None for the global view.
      mask: [B], 0 on padding, which no mean counts.
    """
    if not self.averaged:
      return real, fake
    mask = jnp.ones(len(real)) if mask is None else mask
    totals = [jnp.sum(jnp.where(mask > 0, by_row(logits), 0.0)) for logits in (real, fake)]
    *totals, count = batch_mean((*totals, jnp.sum(mask)), axis_name)
    return real - totals[1] / count, fake - totals[0] / count

  def accuracies(self, real: Array, fake: Array) -> dict[str, Array]:
    """Returns 1 where D is right and else 0, by name: on logits or, without a boundary, on pairs of logits."""
    if self.boundary is None:
      right = {"d_pair_accuracy": real > fake}
    else:
      right = {"d_real_accuracy": real > self.boundary, "d_fake_accuracy": fake < self.boundary}
    return {name: values.astype(jnp.float32) for name, values in right.items()}


def by_row(values: Array) -> Array:
  """Averages over the patches of each image, [B, ...] -> [B]."""
  return jnp.mean(values, axis=tuple(range(1, values.ndim)))


def _log_likelihood_ratio(real: Array, fake: Array) -> Array:
  # -log D(x) = softplus(-logit), -log(1 - D(x)) = softplus(logit): exact where the sigmoid saturates.
  return nn.softplus(-real) + nn.softplus(fake)


def saturating() -> AdversarialLoss:
  """The minimax game: L_D = -log D(x) - log(1 - D(G(z))), L_G = log(1 - D(G(z))) (Goodfellow et al. 2014, Eq. 1)."""
  return AdversarialLoss(discriminator=_log_likelihood_ratio, generator=lambda real, fake: -nn.softplus(fake))


def non_saturating() -> AdversarialLoss:
  """The same L_D with L_G = -log D(G(z)) (Goodfellow et al. 2014, Section 3)."""
  return AdversarialLoss(discriminator=_log_likelihood_ratio, generator=lambda real, fake: nn.softplus(-fake))


def wasserstein() -> AdversarialLoss:
  """L_D = D(G(z)) - D(x), L_G = -D(G(z)) (Arjovsky et al. 2017, Eq. 2 and 3).

  -L_D bounds the Wasserstein-1 distance from below if D is 1-Lipschitz; a penalty or clipping must make it so.
  """
  return AdversarialLoss(
    discriminator=lambda real, fake: fake - real, generator=lambda real, fake: -fake, boundary=None
  )


def hinge() -> AdversarialLoss:
  """L_D = max(0, 1 - D(x)) + max(0, 1 + D(G(z))), L_G = -D(G(z)) (Miyato et al. 2018, Eq. 16 and 17)."""
  return AdversarialLoss(
    discriminator=lambda real, fake: nn.relu(1.0 - real) + nn.relu(1.0 + fake), generator=lambda real, fake: -fake
  )


def relativistic_pairing() -> AdversarialLoss:
  """RpGAN: L_D = softplus(D(G(z)) - D(x)), L_G = softplus(D(x) - D(G(z))) for pairs of a real and a generated image.

  Sources: Jolicoeur-Martineau 2018; Huang et al. 2024, arXiv:2501.05441, Eq. 2.
  """
  return AdversarialLoss(
    discriminator=lambda real, fake: nn.softplus(fake - real),
    generator=lambda real, fake: nn.softplus(real - fake),
    boundary=None,
  )


def relativistic_average() -> AdversarialLoss:
  """RaGAN: L_D = -log s(D(x) - E D(G(z))) - log(1 - s(D(G(z)) - E D(x))) with the sigmoid s; L_G with both exchanged,
  halved (Jolicoeur-Martineau 2018, arXiv:1807.00734, Eq. 8 and 9; halved as in ESRGAN's code).

  The means E are those of the global batch.
  """
  return AdversarialLoss(
    discriminator=_log_likelihood_ratio,
    generator=lambda real, fake: 0.5 * _log_likelihood_ratio(fake, real),
    boundary=None,
    averaged=True,
  )


def least_squares(a: float = 0.0, b: float = 1.0, c: float = 1.0, sigmoid: bool = False) -> AdversarialLoss:
  """L_D = (D(x) - b)^2 / 2 + (D(G(z)) - a)^2 / 2, L_G = (D(G(z)) - c)^2 / 2 (Mao et al. 2017, Eq. 2).

  The default is the paper's Eq. 9; its Eq. 8, a Pearson chi^2 divergence, has a = -1, b = 1, c = 0.

  Args:
    a: D's target for fake images.
    b: D's target for real images.
    c: G's target for fake images.
    sigmoid: whether D(x) is the sigmoid of the logit, as in Lucic et al. 2018, and not the logit itself.

  Raises:
    ConfigError: b is not above a, or a sigmoid cannot reach both.
  """
  if not a < b:
    raise ConfigError(f"a={a} must be below b={b}, the targets of fake and of real images")
  if sigmoid and not (a >= 0 and b <= 1):
    raise ConfigError(f"a={a} and b={b} must lie in [0, 1], where a sigmoid does; take such ones or --.sigmoid=False")
  of = nn.sigmoid if sigmoid else lambda logit: logit
  middle = 0.5 * (a + b)
  return AdversarialLoss(
    discriminator=lambda real, fake: 0.5 * (of(real) - b) ** 2 + 0.5 * (of(fake) - a) ** 2,
    generator=lambda real, fake: 0.5 * (of(fake) - c) ** 2,
    boundary=math.log(middle / (1.0 - middle)) if sigmoid else middle,
  )


LOSSES = {
  "saturating": saturating,
  "non_saturating": non_saturating,
  "wasserstein": wasserstein,
  "hinge": hinge,
  "relativistic_pairing": relativistic_pairing,
  "relativistic_average": relativistic_average,
  "least_squares": least_squares,
}
