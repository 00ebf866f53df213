"""A small VAE of which tests change one axis, and parameters away from their start."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from common import random
from common.data.spec import Spec
from configs import vae as config_file
from vae.from_config import from_config

SPEC = Spec((4, 4, 1), 10, 8, "images", (0.0, 1.0), "", vocabulary=("<pad>", "<unk>", "man", "woman"))


@functools.cache
def _images(shape):
  return jnp.asarray(np.random.default_rng(0).integers(0, 2, (8, *shape)), jnp.float32)


def config_of_model(**changes):
  """The tiny config with z of 3, and other sections."""
  config = config_file.get_config("tiny").unlock()
  config.model.update({"z_dim": 3, "width": 16, "kernel_init": "lecun_normal"})
  config.data.degradation = ({"name": "box", "height": 2, "width": 2},)
  for section, value in changes.items():
    config[section] = value
  return config


def model_of(spec=SPEC, *, compiled=True, **changes):
  """The VAE of that config, its fresh state (or what makes it, not compiled), and a batch of 8 binary images."""
  algorithm = from_config(config_of_model(**changes), spec)
  x = _images(spec.image_shape)
  batch = {"image": x, "index": jnp.arange(8), "label": jnp.arange(8) % 10, "mask": jnp.ones(8)}
  batch["seen"] = seen_of(x)
  batch["text"] = jnp.asarray([[2, 3, 2, 0], [3, 2, 0, 0]] * 4, jnp.int32)
  make = jax.jit(lambda: algorithm.init(jax.random.key(0), batch))
  return algorithm, make() if compiled else make, batch


def seen_of(x):
  """What is left of images with a hole in their left half, and the channel that marks it."""
  hole = jnp.broadcast_to(jnp.arange(x.shape[2])[:, None] < x.shape[2] // 2, (*x.shape[:3], 1))
  return jnp.concatenate([jnp.where(hole, 0.0, x), hole.astype(jnp.float32)], axis=-1)


@functools.partial(jax.jit, static_argnums=(0, 1))
def keys_of(count, seed=0):
  """Keys of the first rows."""
  return random.row_keys(jax.random.key(seed), jnp.arange(count))


def drawn(init, *args, scale=1.0):
  """Parameters of the shapes of ``init(key, *args)``, whose zeros at the start would hide what is wrong.

  They are from N(0, scale^2), those of a kernel divided by the square root of its inputs.
  """
  rng = np.random.default_rng(0)

  def draw(leaf):
    fan_in = leaf.shape[0] if len(leaf.shape) > 1 else 1
    return (scale / np.sqrt(fan_in) * rng.normal(size=leaf.shape)).astype(np.float32)

  return jax.tree.map(draw, jax.eval_shape(init, jax.random.key(0), *args))
