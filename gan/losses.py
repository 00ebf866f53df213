"""Adversarial losses on logits: D(x) = sigmoid(logit). Each returns one value an example, [B], to be minimised."""

import dataclasses
from collections.abc import Callable

from flax import linen as nn

from common.algorithm import Array


@dataclasses.dataclass(frozen=True)
class AdversarialLoss:
  """Both players see both sets of logits, [B] each: relativistic losses need them.

  Attributes:
    discriminator: (real, fake) -> [B].
    generator: (real, fake) -> [B].
  """

  discriminator: Callable[[Array, Array], Array]
  generator: Callable[[Array, Array], Array]


def _log_likelihood_ratio(real: Array, fake: Array) -> Array:
  # -log D(x) = softplus(-logit), -log(1 - D(x)) = softplus(logit): exact where the sigmoid saturates.
  return nn.softplus(-real) + nn.softplus(fake)


def saturating() -> AdversarialLoss:
  """The minimax game: L_D = -log D(x) - log(1 - D(G(z))), L_G = log(1 - D(G(z))) (Goodfellow et al. 2014, Eq. 1)."""
  return AdversarialLoss(discriminator=_log_likelihood_ratio, generator=lambda real, fake: -nn.softplus(fake))


def non_saturating() -> AdversarialLoss:
  """The same L_D with L_G = -log D(G(z)) (Goodfellow et al. 2014, Section 3)."""
  return AdversarialLoss(discriminator=_log_likelihood_ratio, generator=lambda real, fake: nn.softplus(-fake))


LOSSES = {"saturating": saturating, "non_saturating": non_saturating}
