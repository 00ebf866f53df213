"""What a penalty sees, for tests: critics that are plain functions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common import random
from gan.penalties.seen import Seen

SHAPE = (6, 4, 3, 2)
RNG = np.random.default_rng(0)
REAL, FAKE = (jnp.asarray(RNG.normal(size=SHAPE), jnp.float32) for _ in range(2))
ROWS = random.row_keys(jax.random.key(0), jnp.arange(6))


def linear(w):
  """D(x) = sum(w x)."""
  return lambda x: jnp.sum(x * w, axis=(1, 2, 3))


def of_either_half(critic):
  """As `Seen.apply_d`, where nothing is augmented."""
  return lambda x, half="real": critic(x)


def see(apply_d=None, real=REAL, fake=FAKE, **changes: Any) -> Seen:
  apply_d = apply_d or linear(1.0)
  seen = Seen(
    apply_d=of_either_half(apply_d),
    params={},
    real=real,
    fake=fake,
    real_logits=apply_d(real),
    fake_logits=apply_d(fake),
    updates=jnp.int32(0),
    rows=ROWS[: len(real)],
    axis_name=None,
  )
  return seen._replace(**changes)
