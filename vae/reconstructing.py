"""Reconstructions in the place of samples, for whatever scores or shows pictures of a `Generative`."""

import dataclasses

from common import random
from common.types import Array, Given, Images, Latents
from vae.vae import VAE, VaeState


@dataclasses.dataclass(frozen=True)
class Reconstructing:
  """A model that is given an image beside what its VAE is given, and has q(z|x) in the place of the prior.

  Attributes:
    vae: the VAE.
    ema: whether the encoder's averaged weights are used.
  """

  vae: VAE
  ema: bool = True
  has_prior, normal_latents = True, False

  @property
  def given(self) -> tuple[str, ...]:
    return "image", *self.vae.given

  def prior_sample(self, state: VaeState, rng: Array, index: Array, given: Given = None) -> Latents:
    """Draws z from q(z|x) for each row; row i depends on (rng, i) and on the rows that it is given only."""
    assert given is not None
    keys = random.row_keys(random.stream(rng, "z"), index)
    variables = state.net.variables(ema=self.ema)
    return self.vae.network.apply(variables, given["image"], self._others(given), keys, method="encode")

  def decode(self, state: VaeState, z: Latents, given: Given = None, *, ema: bool = True) -> Images:
    """Returns E[x|z], [N, H, W, C]."""
    return self.vae.decode(state, z, self._others(given), ema=ema)

  def _others(self, given: Given) -> Given:
    return {name: row for name, row in (given or {}).items() if name != "image"} or None
