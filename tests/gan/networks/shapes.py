"""Small networks, and the shapes of what they compute."""

from typing import Any

import jax
import jax.numpy as jnp

from common import random
from common.build import parameters
from gan.networks import GENERATORS
from gan.networks.interface import DOUBLED, base_of

SMALL: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # settings of G and of D
  "patch": ({}, {"width": 2, "layers": 1}),
  "unet": ({}, {"width": 2}),
  "mlp": ({"width": 4, "layers": 1, "init_range": 0.1}, {"width": 4, "layers": 1, "pieces": 2, "init_range": 0.1}),
  "tapered_mlp": ({"widths": (4, 4)}, {"widths": (4,)}),
  "dcgan": ({"width": 2, "kernel_size": 3},) * 2,
  "df_gan": ({"width": 2},) * 2,
  "infogan": ({"width": 2, "hidden": 4},) * 2,
  "resnet": ({"width": 2},) * 2,
  "sagan": ({"width": 8},) * 2,
  "r3gan": ({"width": 2, "blocks": 1, "cardinality": 2, "embedding_dim": 2},) * 2,
}


def attention_size(image_shape: tuple[int, int, int], is_generator: bool) -> int:
  """Returns the height next to the base of a network that doubles: 8 of G and 4 of D for images of 8x8."""
  return (1 + is_generator) * (base_of(image_shape)[0] if DOUBLED.fits(*image_shape[:2]) else 4)


def shapes(
  table: dict[str, Any], name: str, image_shape: tuple[int, int, int], given: Any = None, **context: Any
) -> Any:
  """Returns (output, variables) of a small network on two examples, as shapes."""
  is_generator = table is GENERATORS
  context |= {"image_shape": image_shape, "pixel_range": (-1.0, 1.0)}
  allowed = {key: value for key, value in context.items() if key in parameters(table[name])}
  if name == "sagan":
    allowed["attention_size"] = attention_size(image_shape, is_generator)
  network = table[name](**SMALL[name][not is_generator], **allowed)
  x = jnp.zeros((2, 4)) if is_generator else jnp.zeros((2, *image_shape))
  further: dict[str, Any] = {} if is_generator else {"keys": random.row_keys(jax.random.key(0), jnp.arange(2))}
  if given is not None:
    further["given"] = given
  return jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), x, train=True, **further))
