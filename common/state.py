"""The state of one network, and the only function that updates it."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax import lax

from common.ema import Ema
from common.errors import ConfigError
from common.layers.spectral import START, VECTORS
from common.parallel import batch_mean
from common.types import Array, Mean, Metrics, PyTree


class NetState(flax.struct.PyTreeNode):
  """The part of one network that training changes.

  Attributes:
    params: the parameters that the optimizer moves.
    mutable: other collections (BatchNorm statistics), as flax names them.
    opt_state: the optimizer's state.
    ema_params: running average of params, None if no average is kept.
    ema_mutable: running average of the other collections (also a VQ-VAE's codebook) with the same decay, except
      spectral norm's vectors.
    updates: int32, number of updates of this network so far; drives its schedules.
  """

  params: PyTree
  mutable: dict[str, PyTree]
  opt_state: PyTree
  ema_params: PyTree
  ema_mutable: dict[str, PyTree] | None
  updates: Array

  def variables(self, *, ema: bool = False) -> dict[str, PyTree]:
    """Returns the variables for ``module.apply``; with ``ema`` the averages, if they are kept.

    Averages of singular vectors are meaningless: those of the averaged kernels are computed from the current ones.
    """
    if not ema or self.ema_params is None:
      return {"params": self.params, **self.mutable}
    start = {START: self.mutable[VECTORS]} if VECTORS in self.mutable else {}
    return {"params": self.ema_params, **(self.ema_mutable or {}), **start}

  def with_collection(self, name: str, value: PyTree) -> "NetState":
    """Returns the state with ``value`` as the collection ``name``, and as its average if one is kept."""
    average = None if self.ema_mutable is None else {**self.ema_mutable, name: value}
    return self.replace(mutable={**self.mutable, name: value}, ema_mutable=average)


class Network(NamedTuple):
  """A module in training, its optimizer, and how the average of its weights is kept."""

  module: nn.Module
  tx: optax.GradientTransformation
  ema: Ema


NORMS_EVERY = 10  # updates


def init_network(
  module: nn.Module, tx: optax.GradientTransformation, ema: Ema, rng: Array, *inputs: Any, **kwargs: Any
) -> NetState:
  """Initialises ``module`` on example inputs; call it under jit or eval_shape."""
  variables = dict(module.init({"params": rng}, *inputs, **kwargs))
  params = variables.pop("params")
  return NetState(
    params=params,
    mutable=variables,
    opt_state=tx.init(params),
    ema_params=ema.start(params),
    ema_mutable=ema.start(_averaged(variables)),
    updates=jnp.zeros((), jnp.int32),
  )


def apply_gradients(
  net: NetState,
  grads: PyTree,
  tx: optax.GradientTransformation,
  ema: Ema,
  *,
  mutable: dict[str, PyTree] | None = None,
  axis_name: str | None = None,
) -> tuple[NetState, Metrics]:
  """Updates one network; no other function calls ``tx.update``.

  Args:
    net: the network's state.
    grads: gradients of the mean loss of the local batch; averaged over devices here.
    tx: the network's optimizer.
    ema: the rule of the network's average.
    mutable: new collections of this pass, None to keep the old ones; averaged over devices, which only matters
      if BatchNorm is per device.
    axis_name: the device axis, None for the global view.

  Returns:
    The new state and {"grad_norm", "update_norm", "param_norm"}, global L2 norms at every tenth update, beginning
    with the first; "param_norm" is taken before the update.
  """
  grads = batch_mean(grads, axis_name)
  updates, opt_state = tx.update(grads, net.opt_state, net.params)
  params = optax.apply_updates(net.params, updates)
  mutable = net.mutable if mutable is None else batch_mean(mutable, axis_name)
  new = net.replace(
    params=params,
    mutable=mutable,
    opt_state=opt_state,
    ema_params=ema.update(net.ema_params, params, net.updates),
    ema_mutable=ema.update(net.ema_mutable, _averaged(mutable), net.updates),
    updates=net.updates + 1,
  )
  return new, _norms(net, grads, updates)


def _averaged(mutable: dict[str, PyTree]) -> dict[str, PyTree]:
  """Returns the collections that are averaged."""
  return {name: value for name, value in mutable.items() if name != VECTORS}


def _norms(net: NetState, grads: PyTree, updates: PyTree) -> Metrics:
  # Computed at every update, they would take a quarter of a small MLP's step on a CPU.
  due = net.updates % NORMS_EVERY == 0
  trees = {"grad_norm": grads, "update_norm": updates, "param_norm": net.params}
  norms = lax.cond(due, lambda: [optax.tree.norm(x) for x in trees.values()], lambda: [jnp.zeros(())] * len(trees))
  return {name: Mean(norm, due.astype(jnp.float32)) for name, norm in zip(trees, norms, strict=True)}


def transfer_weights(source: PyTree, target: PyTree, *, partly: bool = False) -> tuple[PyTree, list[str]]:
  """Copies parameters, averages and collections from ``source`` to ``target``; optimizers and counters stay.

  The only network of a source, such as a regression's, becomes the one of ``target`` whose arrays have the same names,
  such as a GAN's generator; the others of ``target`` stay.

  Args:
    source: a state.
    target: the state that gets the weights.
    partly: whether arrays that are absent in ``source`` or have another shape there keep the values of ``target``.

  Returns:
    The new state, and "name: shape in source -> shape in target" for each array that differs.

  Raises:
    ConfigError: an array differs and ``partly`` is False, or no array fits.
  """
  new, old = _matched(networks(target), networks(source))
  there = {f"{name}/{path}": x for name, net in old.items() for path, x in _arrays(net.variables()).items()}
  here = {f"{name}/{path}": x for name, net in new.items() for path, x in _arrays(net.variables()).items()}
  wrong = [
    f"{k}: {there[k].shape if k in there else 'absent'} -> {here[k].shape if k in here else 'absent'}"
    for k in {**there, **here}
    if k not in there or k not in here or there[k].shape != here[k].shape
  ]
  if wrong and (not partly or not any(k in there and there[k].shape == x.shape for k, x in here.items())):
    way_out = "" if partly else "; --init_partly takes what fits"
    raise ConfigError(f"--init_from has other networks, {len(wrong)} differences: {'; '.join(wrong[:3])}{way_out}")

  def fitting(old: PyTree, new: PyTree) -> PyTree:
    arrays = _arrays(old)
    return jax.tree_util.tree_map_with_path(
      lambda path, x: x if (y := arrays.get(_name(path))) is None or y.shape != x.shape else y, new
    )

  def moved(net: NetState, old: NetState) -> NetState:
    raw = old.params, _averaged(old.mutable)
    average = raw if old.ema_params is None else (old.ema_params, old.ema_mutable)
    ema = (None, None)
    if net.ema_params is not None:
      ema = jax.tree.map(jnp.copy, fitting(average, (net.ema_params, net.ema_mutable)))
    return net.replace(
      params=fitting(old.params, net.params),
      mutable=fitting(old.mutable, net.mutable),
      ema_params=ema[0],
      ema_mutable=ema[1],
    )

  return target.replace(**{name: moved(net, old[name]) for name, net in new.items() if name in old}), wrong


def _matched(new: dict[str, NetState], old: dict[str, NetState]) -> tuple[dict[str, NetState], dict[str, NetState]]:
  """Returns both, or of each the one network that stands for the other's, under one name."""
  if len(old) == 1 and not old.keys() & new.keys():
    [only] = old.values()
    for name, net in new.items():
      if _arrays(net.variables()).keys() == _arrays(only.variables()).keys():
        return {name: net}, {name: only}
  return new, old


def networks(state: PyTree) -> dict[str, NetState]:
  """Returns the networks of a state by the names of its fields."""
  return {f.name: v for f in dataclasses.fields(state) if isinstance(v := getattr(state, f.name), NetState)}


def _name(path: Any) -> str:
  return jax.tree_util.keystr(path, simple=True, separator="/")


def _arrays(tree: PyTree) -> dict[str, Array]:
  return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
