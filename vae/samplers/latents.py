"""The latents of a trained VAE as samplers know them: which of them go together, and what a split's images have."""

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
from vae.networks.resnet import ResNet
from vae.vae import VAE, VaeState
from vae.vector_quantizer import VectorQuantized

OF_CODES = "autoregressive"  # the sampler of models of codes, and of no others


def is_of_codes(vae: VAE) -> bool:
  return isinstance(vae.network.posterior, VectorQuantized)


def layer_sizes(vae: VAE) -> list[int]:
  """Numbers of each layer of z, top first."""
  return [vae.network.encoder.z_dim, *vae.network.encoder.lower_z_dims]


def size(vae: VAE) -> int:
  """How many numbers a sampler draws for an image: those of all layers, or codes."""
  total = sum(layer_sizes(vae))
  return total // vae.network.posterior.code_dim if is_of_codes(vae) else total


def check_sampler(name: str, vae: VAE) -> None:
  """Raises ConfigError where a sampler of that name cannot be fitted to the latents of the model."""
  if vae.conditional:
    raise ConfigError(
      f"--sampler={name}: samplers are of p(z), and this model is given labels, of which its latents need not be "
      "independent; take a run without config.conditioning"
    )
  if is_of_codes(vae) and name != OF_CODES:
    raise ConfigError(f"--sampler={name} is of real numbers, and the latents are codes; use --sampler={OF_CODES}")
  if not is_of_codes(vae) and name == OF_CODES:
    raise ConfigError(
      f"--sampler={name} is of codes, and this model has none (config.posterior.name is not "
      '"vector_quantized"); use --sampler=gmm, --sampler=flow or --sampler=two_stage'
    )


def code_map(vae: VAE) -> dict[str, int]:
  """The codebook's size and the map's height and width, as the PixelCNN takes them.

  Codes lie as the encoder's map does; where it has none, in one row.
  """
  network, posterior = vae.network.encoder, vae.network.posterior
  count = network.z_dim // posterior.code_dim
  height = network.image_shape[0] // 2**network.halvings if isinstance(network, ResNet) and network.maps else 1
  if count % height:
    height = 1
  return {"num_codes": posterior.num_codes, "height": height, "width": count // height}


def encode(vae: VAE, state: VaeState, split: Split, config: Any, mesh: Mesh, *, name: str) -> np.ndarray:
  """What a sampler is fitted to: of each image of the split one draw of q(z|x), or its codes' numbers.

  Args:
    vae: the model.
    state: its weights; the averaged ones are used.
    split: the images, in the split's order.
    config: the model's.
    mesh: the devices.
    name: of the split; "train" is binarized as in training, once. It is never mirrored.

  Returns:
    float32 [N, 1, 1, Z].
  """
  train, unmirrored = name == "train", ConfigDict({**config.data, "flip": False})

  def step(state: VaeState, data: PyTree, inputs: PyTree) -> Array:
    rng = random.stream(jax.random.key(config.seed), f"latents of {name}")
    batch = preprocess(gather(data, inputs), random.stream(rng, "data"), vae.spec, unmirrored, train=train)
    x, rows = batch["image"], random.row_keys(random.stream(rng, "z"), batch["index"])
    variables = state.net.variables(ema=True)
    if is_of_codes(vae):
      codes = vae.network.apply(variables, x, method=_codes)
      return codes.astype(jnp.float32)
    return jnp.concatenate(vae.network.apply(variables, x, None, rows, method="encode"), axis=-1)

  compiled = jax.jit(step)
  feed = EvalFeed(split, mesh, batch_size=config.train.batch_size, resident_mb=config.data.resident_mb)
  z = np.concatenate([to_host(compiled(state, feed.data, inputs)) for inputs in feed])[: len(split)]
  return z[:, None, None, :]


def _codes(model: Any, x: Images) -> Array:
  return model.posterior.codes(model.encoder(x, None, train=False))
