"""The latents of a trained VAE as densities see them: which densities fit them, their shape, and those of a split."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from common import random
from common.data.batches import EvalFeed, gather
from common.data.dataset import Split
from common.data.preprocess import preprocess
from common.errors import ConfigError
from common.parallel import to_host
from common.types import Array, Images, PyTree
from vae.vae import VAE, VaeState


def layer_sizes(vae: VAE) -> list[int]:
  """The size of each layer of z, top first."""
  return [vae.network.encoder.z_dim, *vae.network.encoder.lower_z_dims]


def shape_of(vae: VAE) -> tuple[int, int, int]:
  """The shape of an image's latents: (1, 1, size of all layers), or (height, width, 1) of its map of codes.

  Codes lie as the encoder's map does, or in one row if it has none.
  """
  network, posterior = vae.network.encoder, vae.network.posterior
  if not vae.network.has_codes:
    return 1, 1, sum(layer_sizes(vae))
  count = network.z_dim // posterior.code_dim
  height = network.places()[0] if network.makes_map else 1
  height = 1 if count % height else height
  return height, count // height, 1


def check(vae: VAE, codes: bool) -> None:
  """Raises ConfigError where a density of codes, or of real numbers, cannot be fitted to the model's latents."""
  if vae.given:
    raise ConfigError(
      f"the density would be one of p(z), and this model is given {' and '.join(vae.given)}, on which its latents may "
      "depend; take a run without config.conditioning"
    )
  if vae.network.has_codes and not codes:
    raise ConfigError("the density is one of real numbers, and these latents are codes; use samplers:autoregressive")
  if codes and not vae.network.has_codes:
    raise ConfigError(
      'the density is one of codes, and this model has none (config.posterior.name is neither "vector_quantized" nor '
      '"finite_scalar"); use samplers:gmm, samplers:flow or samplers:two_stage'
    )


def encode(vae: VAE, state: VaeState, split: Split, config: Any, mesh: Mesh, *, name: str) -> np.ndarray:
  """Computes the latents that a density is fitted to: for each image one draw of q(z|x), or the numbers of its codes.

  Args:
    vae: the model.
    state: its state; the averaged weights are used.
    split: the images, in the split's order.
    config: the model's.
    mesh: the devices.
    name: the split's name; "train" is binarized once, as in training. It is never mirrored or turned.

  Returns:
    float32 [N, *shape_of(vae)].
  """
  train, unmirrored = name == "train", ConfigDict({**config.data, "flip": False, "rotate": False})

  def step(state: VaeState, data: PyTree, inputs: PyTree) -> Array:
    rng = random.stream(jax.random.key(config.seed), f"latents of {name}")
    batch = preprocess(gather(data, inputs), random.stream(rng, "data"), vae.spec, unmirrored, train=train)
    x, keys = batch["image"], random.row_keys(random.stream(rng, "z"), batch["index"])
    variables = state.net.variables(ema=True)
    if vae.network.has_codes:
      return vae.network.apply(variables, x, method=_codes).astype(jnp.float32)
    return jnp.concatenate(vae.network.apply(variables, x, None, keys, method="encode"), axis=-1)

  compiled = jax.jit(step)
  feed = EvalFeed(split, mesh, batch_size=config.train.batch_size, resident_mb=config.data.resident_mb)
  z = np.concatenate([to_host(compiled(state, feed.data, inputs)) for inputs in feed])[: len(split)]
  return z.reshape(-1, *shape_of(vae))


def _codes(model: Any, x: Images) -> Array:
  return model.posterior.codes(model.encoder(x, None, train=False))
