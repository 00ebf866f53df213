"""The rules of a round: how often each player moves, in which order, and on which images."""

import dataclasses

import jax
import jax.numpy as jnp

from common.errors import ConfigError
from common.types import Array, Batch

CHOICES = {
  "order": ("alternating", "simultaneous"),
  "fakes": ("fresh", "shared"),
  "generator_reals": ("shared", "fresh"),
}


@dataclasses.dataclass(frozen=True)
class Game:
  """The rounds of Goodfellow et al. 2014, Algorithm 1, and their variants in later papers.

  Attributes:
    n_critic: updates of D in a round, a batch each.
    order: alternating: G meets the updated D; simultaneous: both gradients are taken at the same point.
    fakes: fresh: G is updated on latents of its own; shared: on those of D's last update.
    generator_reals: shared: G's update has the real images and labels of D's last one; fresh: it has its own.
    generator_batches: batches of latents in an update of G; each real image and label then meets this many fakes.
    d_loss_scale: factor of D's adversarial loss; many implementations use 0.5.
    warmup: updates of D before some updates of G, which then skips rounds (the code of Arjovsky et al. 2017); 0: none.
    warmup_first: the warm-up applies to this many first updates of G.
    warmup_every: the warm-up applies to every update of G whose number this divides; 0: to no others.

  Raises:
    ConfigError: a value lies outside its range, or two values exclude each other.
  """

  n_critic: int = 1
  order: str = "alternating"
  fakes: str = "fresh"
  generator_reals: str = "shared"
  generator_batches: int = 1
  d_loss_scale: float = 1.0
  warmup: int = 0
  warmup_first: int = 0
  warmup_every: int = 0

  def __post_init__(self):
    for field, choices in CHOICES.items():
      if getattr(self, field) not in choices:
        raise ConfigError(f'{field}="{getattr(self, field)}" must be one of {", ".join(choices)}')
    for field in ("n_critic", "generator_batches", "d_loss_scale"):
      if not getattr(self, field) > 0:
        raise ConfigError(f"{field}={getattr(self, field)} must be above 0; take --.{field}=1")
    if self.order == "simultaneous":
      both_move = "in simultaneous order both players move once a round, from the same point"
      self._exclude("order", "alternating", "n_critic", 1, both_move)
      self._exclude("order", "alternating", "warmup", 0, both_move)
    if self.fakes == "shared":
      self._exclude("fakes", "fresh", "generator_batches", 1, "G needs more latents than D's last batch has")
      self._exclude("fakes", "fresh", "generator_reals", "shared", "the fakes of D's last batch have its labels")
    if self.warmup and not (self.warmup_first or self.warmup_every):
      raise ConfigError(
        f"warmup={self.warmup} applies to no update of G; take --.warmup_first=25, --.warmup_every=500, or --.warmup=0"
      )

  def _exclude(self, first: str, its_way: object, second: str, other_way: object, why: str) -> None:
    """Raises ConfigError unless ``second`` has the value ``other_way``, which ``first`` needs."""
    if getattr(self, second) != other_way:
      raise ConfigError(
        f"{first}={getattr(self, first)} does not go with {second}={getattr(self, second)}: {why}; "
        f"take --.{second}={other_way} or --.{first}={its_way}"
      )

  @property
  def batches(self) -> int:
    """Number of batches of real images in a round."""
    return self.n_critic + (self.generator_reals == "fresh")

  def repeated(self, batch: Batch) -> Batch:
    """Returns G's batch: each real image and label as often as ``generator_batches``, each copy with its own index."""
    times = self.generator_batches
    if times == 1:
      return batch
    wide = jax.tree.map(lambda x: jnp.repeat(x, times, axis=0), batch)
    copy = jnp.arange(wide["index"].shape[0]) % times
    return {**wide, "index": wide["index"] * times + copy}  # the row's own number, on whichever device

  def needed(self, generator_updates: Array) -> Array:
    """Returns how many updates of D must precede the next update of G, of which there were ``generator_updates``."""
    early = generator_updates < self.warmup_first
    again = generator_updates % self.warmup_every == 0 if self.warmup_every else False
    return jnp.where(early | again, self.warmup, self.n_critic)


GAMES = {"rounds": Game}
