"""A small state with leaves of many kinds, and checkpoints of it."""

from pathlib import Path

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from common.training.checkpoint import Checkpoints


class Net(flax.struct.PyTreeNode):
  params: dict
  opt_state: tuple
  ema: dict | None
  step: jax.Array


def state_of(seed: int = 0, width: int = 6) -> Net:
  rng = np.random.default_rng(seed)
  params = {"conv": {"kernel": rng.normal(size=(width, 4))}, "bias": rng.normal(size=4)}
  params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
  more = {
    "half": jnp.asarray(rng.normal(size=(3, 5)), jnp.bfloat16),
    "mask": jnp.asarray(rng.integers(0, 2, 7), bool),
    "bits": jnp.asarray(rng.integers(0, 2**32, 9), jnp.uint32),
    "special": jnp.asarray([jnp.nan, -0.0, jnp.inf, 1e-45], jnp.float32),
  }
  opt_state = optax.chain(optax.clip(1.0), optax.adam(1e-3)).init(params)
  return Net({**params, **more}, opt_state, None, jnp.asarray(seed, jnp.int32))


def shapes_like(state, sharding=None):
  default = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding or default), state)


def assert_same(a, b) -> None:
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    assert x.dtype == y.dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes()


def save(directory: Path, *steps: int, keep: int = 3) -> None:
  with Checkpoints(directory, keep=keep) as checkpoints:
    for step in steps:
      checkpoints.save(step, state_of(step), {"step": step})


def restore(directory: Path, step: int | None = None):
  with Checkpoints(directory, keep=1, read_only=True) as checkpoints:
    return checkpoints.restore(shapes_like(state_of()), step)


def names(directory: Path) -> list[str]:
  return sorted(path.name for path in directory.iterdir())
