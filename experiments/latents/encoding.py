"""Pictures to latents and back, for any model of the project; `experiments.api` documents both directions."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common import random
from common.algorithm import Generative
from common.errors import ConfigError
from common.evaluation.inversion import invert
from common.types import Array, Given, Images, Latents, PyTree
from experiments.loading import TrainedRun
from vae.vae import VAE

BATCH = 32
CANDIDATES = 256  # random latents, the nearest of which a search starts from


def encode(
  run: TrainedRun, pixels: np.ndarray, labels: np.ndarray | None, *, steps: int = 300, learning_rate: float = 0.05
) -> dict[str, np.ndarray]:
  model: Any = run.algorithm
  spec = run.spec
  if not isinstance(run.algorithm, Generative) or spec.kind != "images":
    raise ConfigError(f"the run holds a {run.config.family} of {spec.kind}, which has no latents of pictures")
  low, high = spec.pixel_range
  given = _given(model, labels)

  # The state is an argument: as a constant of the compiled function it would be compiled into it.
  def of_vae(state: PyTree, images: Array, given: Given, keys: Array) -> dict[str, Any]:
    apply = functools.partial(model.network.apply, state.net.variables(ema=True))
    z = apply(images, given, keys, method="encode")
    if model.network.has_codes:
      return {"z": z, "codes": apply(z, method=lambda network, z: network.posterior.codes_of(z[0]))}
    if model.network.gaussian and len(z) == 1:
      mean, log_var = apply(images, given, method="moments")
      return {"z": z, "mean": mean, "log_var": log_var}
    return {"z": z}

  def of_generator(state: PyTree, images: Array, given: Given, keys: Array) -> dict[str, Any]:
    del keys
    candidates = model.prior_sample(state, random.stream(jax.random.key(0), "candidates"), jnp.arange(CANDIDATES))
    search = functools.partial(invert, candidates=candidates, steps=steps, learning_rate=learning_rate)
    if given is None:
      return {"z": search(lambda z: model.decode(state, z), images=images).z}

    def one(image: Array, own: Given) -> Latents:
      def pictures(z: Latents) -> Images:
        return model.decode(state, z, jax.tree.map(lambda x: jnp.repeat(x[None], len(z), axis=0), own))

      return search(pictures, images=image[None]).z[0]

    return {"z": jax.lax.map(lambda row: one(*row), (images, given))}

  step = jax.jit(of_vae if isinstance(model, VAE) else of_generator)
  keys = random.row_keys(random.stream(jax.random.key(0), "encode"), jnp.arange(len(pixels)))
  parts = []
  for start in range(0, len(pixels), BATCH):
    rows = np.minimum(np.arange(start, start + BATCH), len(pixels) - 1)  # one shape, one compilation
    images = low + (high - low) * (pixels[rows].astype(np.float32) / 255)
    if run.config.data.binarize != "none":
      images = np.where(images < (low + high) / 2, np.float32(low), np.float32(high))
    out = step(run.state, images, jax.tree.map(lambda x, rows=rows: x[rows], given), keys[rows])
    parts.append(jax.tree.map(lambda x, start=start: np.asarray(x)[: len(pixels) - start], out))
  whole = jax.tree.map(lambda *x: np.concatenate(x), *parts)
  layers = jax.tree.leaves(whole.pop("z"))
  found = {f"z{i}" if len(layers) > 1 else "z": layer for i, layer in enumerate(layers)} | whole
  again = decode(run, {name: layer for name, layer in found.items() if name.startswith("z")}, labels)
  error = np.mean(((again - low) / (high - low) - pixels / np.float32(255)) ** 2, axis=(1, 2, 3))
  return {**found, "reconstructions": again, "error": error}


def decode(run: TrainedRun, latents: Mapping[str, np.ndarray], labels: np.ndarray | None) -> np.ndarray:
  model: Any = run.algorithm
  leaves, structure = jax.tree.flatten(run.latents())
  single = "mean" if "mean" in latents else "z"
  names = [single] if len(leaves) == 1 else [f"z{i}" for i in range(len(leaves))]
  parts = [np.asarray(latents[name], np.float32) for name in names if name in latents]
  if [x.shape[1:] for x in parts] != [x.shape[1:] for x in leaves]:
    theirs = ", ".join(f"{name} {x.shape}" for name, x in latents.items() if name.startswith(("z", "mean")))
    ours = ", ".join(f"{name} [N, {', '.join(map(str, x.shape[1:]))}]" for name, x in zip(names, leaves, strict=True))
    raise ConfigError(f"the latents are {theirs or 'missing'}, and this model has {ours}; encode with the same run")
  step, given = jax.jit(model.decode), _given(model, labels)
  images = []
  for start in range(0, len(parts[0]), BATCH):
    rows = np.minimum(np.arange(start, start + BATCH), len(parts[0]) - 1)
    z = jax.tree.unflatten(structure, [jnp.asarray(x[rows]) for x in parts])
    of_rows = jax.tree.map(lambda x, rows=rows: x[rows], given)
    images.append(np.asarray(step(run.state, z, of_rows))[: len(parts[0]) - start])
  return np.concatenate(images)


def _given(model: Any, labels: np.ndarray | None) -> Given:
  if model.given not in ((), ("label",)):
    raise ConfigError(f"the model is given {' and '.join(model.given)}; only latents of models of labels are found")
  if (labels is not None) != bool(model.given):
    raise ConfigError(f"this model {'needs' if model.given else 'takes no'} labels; encode with the same run")
  return None if labels is None else {"label": labels}
