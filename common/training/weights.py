"""The weights of a run in one safetensors file with readable names: "generator/params/Dense_0/kernel"."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from common import files
from common.errors import ConfigError
from common.state import NetState, networks
from common.types import Array, PyTree

FILE = "weights.safetensors"


def named(state: PyTree) -> dict[str, Array]:
  """Returns the arrays of all networks of a state; averages where they are kept, else the arrays as trained."""

  def arrays(net: NetState) -> PyTree:
    params = net.params if net.ema_params is None else net.ema_params
    return {**net.mutable, **(net.ema_mutable or {}), "params": params}

  return traverse_util.flatten_dict({name: arrays(net) for name, net in networks(state).items()}, sep="/")


def with_named(state: PyTree, arrays: Mapping[str, Array | np.ndarray]) -> PyTree:
  """Returns a state whose networks have ``arrays`` as parameters, collections and averages; the rest stays.

  Args:
    state: a state of the same networks.
    arrays: the arrays by name, as `named` returns them.

  Raises:
    ConfigError: an array is missing, superfluous or of another shape.
  """
  here, there = named(state), dict(arrays)
  wrong = [
    f"{name}: {there[name].shape if name in there else 'absent'} -> {here[name].shape if name in here else 'absent'}"
    for name in {**there, **here}
    if name not in there or name not in here or there[name].shape != here[name].shape
  ]
  if wrong:
    raise ConfigError(f"the weights are of other networks, {len(wrong)} differences: {'; '.join(wrong[:3])}")
  trees = traverse_util.unflatten_dict({name: jnp.asarray(x) for name, x in there.items()}, sep="/")

  def filled(name: str, net: NetState) -> NetState:
    mutable = dict(trees.get(name, {}))
    params = mutable.pop("params", {})
    if net.ema_params is None:
      return net.replace(params=params, mutable=mutable)
    average = {collection: mutable[collection] for collection in net.ema_mutable or {}}
    return net.replace(params=params, mutable=mutable, ema_params=params, ema_mutable=average)

  return state.replace(**{name: filled(name, net) for name, net in networks(state).items()})


def save(path: Path, arrays: Mapping[str, Array], about: Mapping[str, str]) -> str:
  """Writes a safetensors file with ``about`` as its metadata; returns the file's sha256."""
  from safetensors.numpy import save as to_bytes

  content = to_bytes({name: np.asarray(x) for name, x in arrays.items()}, metadata=dict(about))
  files.write(path, content)
  return hashlib.sha256(content).hexdigest()


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  """Reads what `save` wrote: the arrays and the metadata.

  Raises:
    ConfigError: the file is missing, damaged, or no safetensors file.
  """
  from safetensors import SafetensorError, safe_open

  try:
    with safe_open(path, framework="numpy") as file:
      return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
  except (SafetensorError, OSError) as error:
    raise ConfigError(f"{path} cannot be read ({error}); copy it again, or export the run again") from None


def fresh(shapes: PyTree) -> PyTree:
  """Returns zeros for a tree of shapes."""
  return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
