"""Restores pictures with a generative model as the prior (Bora et al. 2017, arXiv:1703.03208): a search for the latents
whose picture, degraded as the given one was, comes nearest to it."""

import ast
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from common import random
from common.algorithm import Generative
from common.data.degradations import build_degradation
from common.data.images import to_uint8
from common.errors import ConfigError
from common.evaluation.inversion import Inverted, invert
from common.types import Array, Given, Images, Latents, PyTree
from experiments.loading import TrainedRun

BATCH = 16  # pictures of one search


class Found(NamedTuple):
  """Pictures uint8 [N, H, W, C], and the root mean square error [N] of their measurements, where white is 1."""

  images: np.ndarray
  error: np.ndarray


def degradation_of(text: str, image_shape: tuple[int, int, int]) -> Callable[[Images], Images] | None:
  """Builds the map of --degradation, a list as of config.data.degradation; None if it is empty.

  Raises:
    ConfigError: it is no such list, draws at random, cuts a hole, or has no gradient.
  """
  try:
    sections = ast.literal_eval(text)
    chain = build_degradation(sections, quantise=False)
  except (ValueError, SyntaxError, TypeError) as error:
    raise ConfigError(
      f"--degradation={text} is no list of sections ({error}); write \"[{{'name':'resize','scale':4}}]\""
    ) from None
  if not sections:
    return None
  if chain.shape(image_shape)[2] > image_shape[2]:
    raise ConfigError(f"--degradation={text}: what cuts holes is for training; say --mask=FILE where the hole is")

  def degrade(images: Images, seed: int = 0) -> Images:
    return chain(images, random.row_keys(jax.random.key(seed), jnp.arange(len(images))))

  ramp = jnp.linspace(0.1, 0.9, math.prod(image_shape)).reshape(1, *image_shape)
  if jnp.any(degrade(ramp) != degrade(ramp, seed=1)):
    raise ConfigError(f"--degradation={text} draws at random; leave noise out, since a search explains what it can")
  if not jnp.any(jax.grad(lambda x: jnp.sum(degrade(x) ** 2))(ramp)):
    raise ConfigError(f"--degradation={text} has no gradient to follow; leave out what rounds")
  return degrade


class LatentSearch:
  """Searches a model's latents for pictures under one degradation, compiled once for each number of pictures.

  Args:
    run: a GAN, or a VAE with a prior.
    degrade: maps images [N, H, W, C] in [0, 1] to what was seen of them, [N, h, w, c]; None leaves them as they are. It
      must be differentiable and draw nothing: noise needs no map, as the search explains the rest.
    restarts: number of searches for each picture, from the nearest of ``candidates``; Bora et al. have 10, at random.
    candidates: random latents.
    steps: updates of Adam.
    learning_rate: of Adam at its start. Bora et al.: 0.01 for the VAE of MNIST, 0.1 for the DCGAN of faces.
    penalty: weight of |z|^2 beside the mean squared error of the values seen, where white is 1. Bora et al.: 0.1 for
      MNIST and 0.001 for faces, from sums over pixels with weights from N(0, 1), and 0 for holes.
    seed: of the candidates.

  Attributes:
    seen_shape: of a picture that is searched for.

  Raises:
    ConfigError: the model has no prior or no latents that move smoothly, or the penalty does not fit them.
  """

  def __init__(
    self,
    run: TrainedRun,
    degrade: Callable[[Images], Images] | None = None,
    *,
    restarts: int = 10,
    candidates: int = 256,
    steps: int = 1000,
    learning_rate: float = 0.01,
    penalty: float = 0.0,
    seed: int = 0,
  ):
    model: Any = run.algorithm
    if not isinstance(run.algorithm, Generative) or not model.has_prior or run.spec.kind != "images":
      raise ConfigError(f"the run holds a {run.config.family} without a prior over pictures; take a VAE or a GAN")
    if model.given not in ((), ("label",)):
      raise ConfigError(f"the model is given {' and '.join(model.given)}; a search needs one of labels or of nothing")
    if penalty and not model.normal_latents:
      raise ConfigError(f"--penalty={penalty} is for latents from N(0, I), and this model has others; use --penalty=0")
    self._run, self._model, self._degrade, self._seed = run, model, degrade or (lambda images: images), seed
    self._options: dict[str, Any] = {
      "restarts": restarts,
      "steps": steps,
      "learning_rate": learning_rate,
      "penalty": penalty,
    }
    self._candidates = max(candidates, restarts)
    shape = jax.ShapeDtypeStruct((1, *run.spec.image_shape), jnp.float32)
    self.seen_shape = jax.eval_shape(self._degrade, shape).shape[1:]
    self._labels = list(run.spec.labels) if model.given else [None]
    self._step = jax.jit(self._search)

  def _decode(self, state: PyTree, z: Latents, label: Any) -> Images:
    low, high = self._run.spec.pixel_range
    given = self._given(label, len(jax.tree.leaves(z)[0]))
    return (self._model.decode(state, z, given) - low) / (high - low)

  def _given(self, label: Any, num: int) -> Given:
    return None if label is None else {"label": jnp.full(num, label)}

  def _search(self, state: PyTree, seen: Array, weight: Array, label: Any) -> tuple[Inverted, Images, Array]:
    def measured(images: Images) -> Array:
      return self._degrade(images) * weight

    rng = random.stream(jax.random.key(self._seed), "candidates")
    given = self._given(label, self._candidates)
    candidates = self._model.prior_sample(state, rng, jnp.arange(self._candidates), given)
    found = invert(lambda z: measured(self._decode(state, z, label)), candidates, seen * weight, **self._options)
    images = self._decode(state, found.z, label)
    return found, images, jnp.sqrt(jnp.mean((measured(images) - seen * weight) ** 2, axis=(1, 2, 3)))

  def __call__(self, pixels: np.ndarray, hole: np.ndarray | None = None) -> Found:
    """Restores pictures uint8 [N, h, w, c] of ``seen_shape``.

    Args:
      pixels: what was seen.
      hole: bool [h, w], True where nothing was seen of any picture; only there the model's values replace those of
        ``pixels``.

    Raises:
      ConfigError: pictures or hole of another size.
    """
    if pixels.shape[1:] != self.seen_shape:
      raise ConfigError(f"pictures of {pixels.shape[1:]} are no pictures of {self.seen_shape}, as this search takes")
    if hole is not None and hole.shape != self.seen_shape[:2]:
      raise ConfigError(f"a mask of {hole.shape} is none for pictures of {self.seen_shape[:2]}; draw it at their size")
    there = np.ones(self.seen_shape[:2], bool) if hole is None else ~hole
    if not there.any():
      raise ConfigError("the mask leaves nothing of the picture; what is missing is white in it")
    weight = (there / np.sqrt(there.mean())).astype(np.float32)[..., None]  # so that a mean is that of what is there
    images, errors = [], []
    size = min(BATCH, len(pixels))
    for start in range(0, len(pixels), size):
      rows = np.minimum(np.arange(start, start + size), len(pixels) - 1)  # one shape, one compilation
      seen = pixels[rows].astype(np.float32) / 255
      best = [jax.device_get(self._step(self._run.state, seen, weight, label)) for label in self._labels]
      choice = np.argmin([found.error for found, _, _ in best], axis=0)
      images.append(np.stack([best[k][1][i] for i, k in enumerate(choice)])[: len(pixels) - start])
      errors.append(np.stack([best[k][2][i] for i, k in enumerate(choice)])[: len(pixels) - start])
    found = to_uint8(np.concatenate(images), (0.0, 1.0))
    if hole is not None and found.shape == pixels.shape:
      found = np.where(hole[..., None], found, pixels)
    return Found(found, np.concatenate(errors))
