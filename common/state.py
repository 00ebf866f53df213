"""The state of one network, and the one place where it is updated."""

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax import lax

from common.algorithm import Array, Mean, Metrics, PyTree
from common.build import ConfigError
from common.ema import Ema
from common.parallel import batch_mean


class NetState(flax.struct.PyTreeNode):
  """Everything of one network that training changes.

  Attributes:
    params: the parameters that the optimizer moves.
    mutable: other collections (BatchNorm statistics), as flax names them.
    opt_state: the optimizer's.
    ema_params: running average of params, or None where none is kept.
    updates: int32, updates of this network so far; drives its schedules.
  """

  params: PyTree
  mutable: dict[str, PyTree]
  opt_state: PyTree
  ema_params: PyTree
  updates: Array

  def variables(self, *, ema: bool = False) -> dict[str, PyTree]:
    """What ``module.apply`` takes; with ``ema`` the averaged parameters, where they are kept."""
    averaged = ema and self.ema_params is not None
    return {"params": self.ema_params if averaged else self.params, **self.mutable}


NORMS_EVERY = 10  # updates


def init_network(
  module: nn.Module, tx: optax.GradientTransformation, ema: Ema, rng: Array, *inputs: Any, **kwargs: Any
) -> NetState:
  """Initialises ``module`` on example inputs; to be called under jit or eval_shape."""
  variables = dict(module.init({"params": rng}, *inputs, **kwargs))
  params = variables.pop("params")
  return NetState(
    params=params,
    mutable=variables,
    opt_state=tx.init(params),
    ema_params=ema.start(params),
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
  """One update of one network; nothing else calls ``tx.update``.

  Args:
    net: the network's state.
    grads: gradients of the local batch's mean loss; averaged over devices here.
    tx: its optimizer.
    ema: how its average is kept.
    mutable: new collections of this pass, None to keep the old ones; averaged over devices, which only matters
      where BatchNorm is per device.
    axis_name: the device axis, None for the global view.

  Returns:
    The new state and {"grad_norm", "update_norm", "param_norm"}, global L2 norms of every tenth update from the first
    on; the last is of the parameters before it.
  """
  grads = batch_mean(grads, axis_name)
  updates, opt_state = tx.update(grads, net.opt_state, net.params)
  params = optax.apply_updates(net.params, updates)
  new = net.replace(
    params=params,
    mutable=net.mutable if mutable is None else batch_mean(mutable, axis_name),
    opt_state=opt_state,
    ema_params=ema.update(net.ema_params, params, net.updates),
    updates=net.updates + 1,
  )
  return new, _norms(net, grads, updates)


def _norms(net: NetState, grads: PyTree, updates: PyTree) -> Metrics:
  # At every update they would take a quarter of the time of a small MLP's step on a CPU.
  due = net.updates % NORMS_EVERY == 0
  trees = {"grad_norm": grads, "update_norm": updates, "param_norm": net.params}
  norms = lax.cond(due, lambda: [optax.tree.norm(x) for x in trees.values()], lambda: [jnp.zeros(())] * len(trees))
  return {name: Mean(norm, due.astype(jnp.float32)) for name, norm in zip(trees, norms, strict=True)}


def transfer_weights(source: PyTree, target: PyTree) -> PyTree:
  """``target`` with the parameters, averages and collections of ``source``; optimizers and counters stay as they are.

  Raises:
    ConfigError: where the two are not of the same networks, naming up to three differences.
  """

  def networks(state: PyTree) -> dict[str, NetState]:
    return {f.name: v for f in dataclasses.fields(state) if isinstance(v := getattr(state, f.name), NetState)}

  def shapes(net: NetState) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(net.variables())
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape for path, leaf in leaves}

  new, old = networks(target), networks(source)
  there = {f"{name}/{path}": shape for name, net in old.items() for path, shape in shapes(net).items()}
  here = {f"{name}/{path}": shape for name, net in new.items() for path, shape in shapes(net).items()}
  wrong = [
    f"{k}: {there.get(k, 'absent')} -> {here.get(k, 'absent')}"
    for k in {**there, **here}
    if there.get(k) != here.get(k)
  ]
  if wrong:
    raise ConfigError(f"--init_from has other networks, {len(wrong)} differences: {'; '.join(wrong[:3])}")
  moved = {
    name: net.replace(
      params=old[name].params,
      mutable=old[name].mutable,
      ema_params=None if net.ema_params is None else jax.tree.map(jnp.copy, old[name].variables(ema=True)["params"]),
    )
    for name, net in new.items()
  }
  return target.replace(**moved)
