"""Restores pictures of any size with a trained network, as `experiments.api.restore` documents."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common import random
from common.algorithm import Generative
from common.data.images import to_uint8
from common.data.resize import fit
from common.errors import ConfigError
from common.types import Array, Images, PyTree
from experiments.loading import TrainedRun
from experiments.restoration.tiles import tiled

TILE = 256  # pixels of a side
MULTIPLE = 32  # of which tiles of small pictures are, as networks that halve their sizes need
OVERLAP = 32  # more than the receptive field of EDSR with 8 blocks reaches


class Restorer:
  """A network with one compiled size of tiles.

  Args:
    run: a model that is given what is left of a picture ("seen").
    tile: the side of a tile in pixels of the input; a network that takes pictures of its training's size only gets
      tiles of that size.
    overlap: pixels on each side of a tile that are computed and not kept.
    longest: the longest side of the pictures to come, if it is known; where it is shorter, so are the tiles.
    draws: results for each picture, by as many latents.
    seed: of the latents.

  Attributes:
    scale: the factor by which results are larger than pictures.
    channels: color channels of the pictures that the network is given.
    takes_mask: whether it is also given which pixels are there.
    tile, overlap: as used.

  Raises:
    ConfigError: the model is given no pictures, or has no latents to draw.
  """

  def __init__(
    self,
    run: TrainedRun,
    *,
    tile: int = TILE,
    overlap: int = OVERLAP,
    longest: int = 0,
    draws: int = 1,
    seed: int = 0,
  ):
    model: Any = run.algorithm
    if not isinstance(run.algorithm, Generative) or model.given != ("seen",):
      raise ConfigError(
        f"the run holds a {run.config.family} that is not given pictures to restore; --method=latent uses any model of "
        "pictures, and --config=edsr trains one that restores"
      )
    spec = run.spec
    self._run, self._model, self._range, self._draws, self._seed = run, model, spec.pixel_range, draws, seed
    seen = next(row.shape for row in spec.rows if row.name == "seen")
    self.scale, self.out_channels = spec.image_shape[0] // seen[0], spec.image_shape[2]
    self.takes_mask = seen[2] in (2, 4)  # the last channel is 1 in the hole
    self.channels = seen[2] - self.takes_mask
    z = jax.tree.leaves(jax.eval_shape(self._latents, run.state, jax.random.key(0), jnp.zeros(seen)))
    if draws > 1 and not sum(math.prod(part.shape) for part in z):
      raise ConfigError(f"--draws={draws}: this network has no latents, and gives one result; use --draws=1")
    if 2 * overlap >= tile:
      raise ConfigError(f"--overlap={overlap} must be less than half of --tile={tile}")
    if longest and longest <= tile:
      tile, overlap = -(-longest // MULTIPLE) * MULTIPLE, 0
    own = not self._takes((tile, tile, seen[2]))
    self.tile = (seen[0], seen[1]) if own else (tile, tile)
    self.overlap = min(OVERLAP, min(seen[:2]) // 4) if own else overlap
    self._step = jax.jit(self._decode)

  def _given(self, seen: Images) -> dict[str, Array]:
    low, high = self._range
    return {"seen": jnp.broadcast_to(low + (high - low) * seen, (self._draws, *seen.shape))}

  def _latents(self, state: PyTree, rng: Array, seen: Images) -> PyTree:
    return self._model.prior_sample(state, rng, jnp.arange(self._draws), self._given(seen))

  def _decode(self, state: PyTree, rng: Array, seen: Images) -> Images:
    """[h, w, c] in [0, 1] -> [D, h * scale, w * scale, C] in the model's range, by latents that may depend on it."""
    return self._model.decode(state, self._latents(state, rng, seen), self._given(seen))

  def _takes(self, shape: tuple[int, int, int]) -> bool:
    """Whether the network takes what is not of its training's size, and enlarges it by the scale."""
    try:
      out = jax.eval_shape(self._decode, self._run.state, jax.random.key(0), jnp.zeros(shape))
    except Exception:  # a network may raise any error about shapes that it does not take
      return False
    return out.shape == (self._draws, shape[0] * self.scale, shape[1] * self.scale, self.out_channels)

  def change(self, channels: int) -> str:
    """Says how a picture with 1 or 3 channels goes through a network with another number; "" if it has the same."""
    if channels == self.channels:
      return ""
    if channels == 1:
      return "grey, as color and back"
    return "each channel by itself" if self.out_channels == 1 else "made grey"

  def __call__(
    self,
    pixels: np.ndarray,
    hole: np.ndarray | None = None,
    *,
    name: str = "",
    done: Callable[[int, int], None] = lambda count, total: None,
  ) -> np.ndarray:
    """Restores uint8 [H, W, 1 or 3] -> uint8 [draws, H * scale, W * scale, C].

    Args:
      pixels: the picture; `change` says what is done if the network takes another number of channels.
      hole: bool [H, W], True where pixels are missing, for a network that takes a mask; the others stay as they are.
      name: the latents depend on it and on the seed only.
      done: called with the number of tiles that are finished, and of all.
    """
    if (hole is not None) != self.takes_mask:
      raise ConfigError("this network fills holes, and needs a mask" if self.takes_mask else "it takes no mask")
    rng = random.stream(jax.random.key(self._seed), name)
    depth = pixels.shape[2]
    if depth == 3 and self.channels == self.out_channels == 1:
      return np.concatenate([self._restored(pixels[..., c : c + 1], hole, rng, done) for c in range(3)], axis=-1)
    out = self._restored(_converted(pixels[None], self.channels)[0], hole, rng, done)
    return _converted(out, 1) if depth < self.channels else out

  def _restored(
    self, pixels: np.ndarray, hole: np.ndarray | None, rng: Array, done: Callable[[int, int], None]
  ) -> np.ndarray:
    height, width, _ = pixels.shape
    seen = pixels
    if hole is not None:
      hole = hole[..., None]
      seen = np.concatenate([np.where(hole, 0, pixels), np.where(hole, 255, 0)], axis=-1).astype(np.uint8)

    def restored(tile: np.ndarray) -> np.ndarray:
      return to_uint8(self._step(self._run.state, rng, tile.astype(np.float32) / 255), self._range)

    out = np.empty((self._draws, height * self.scale, width * self.scale, self.out_channels), np.uint8)
    tiled(restored, seen, out, self.tile, self.overlap, self.scale, done)
    return out if hole is None else np.where(hole, out, pixels)


def _converted(images: np.ndarray, channels: int) -> np.ndarray:
  """Makes uint8 [N, H, W, C] grey or RGB."""
  return fit(images, (*images.shape[1:3], channels), "stretch")


def restore(
  run: TrainedRun, pixels: np.ndarray, hole: np.ndarray | None = None, *, draws: int = 1, seed: int = 0
) -> np.ndarray:
  """Restores one picture of any size by a network that was trained for it, in tiles.

  Args:
    run: the result of `experiments.api.load`.
    pixels: uint8 [H, W, 1 or 3].
    hole: bool [H, W], True where pixels are missing, for a network that fills holes.
    draws: number of results, of a network with latents.
    seed: of the latents.

  Returns:
    uint8 [draws, H * scale, W * scale, C].

  Raises:
    ConfigError: the run restores no pictures, or a hole and the network do not go together.
  """
  return Restorer(run, longest=max(pixels.shape[:2]), draws=draws, seed=seed)(pixels, hole)
