"""Parameters away from their start, whose zeros would hide what is wrong."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def drawn(init: Callable[..., Any], *args: Any, scale: float = 1.0, seed: int = 0) -> Any:
  """Of the shapes of ``init(key, *args)``: N(0, scale^2), of a kernel divided by the square root of its inputs."""
  rng = np.random.default_rng(seed)

  def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    fan_in = leaf.shape[0] if len(leaf.shape) > 1 else 1
    return (scale / np.sqrt(fan_in) * rng.normal(size=leaf.shape)).astype(np.float32)

  return jax.tree.map(draw, jax.eval_shape(init, jax.random.key(0), *args))
