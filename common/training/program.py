"""Compiles an algorithm for its data and devices."""

import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jax.typing import ArrayLike

from common import random
from common.algorithm import Trainable
from common.data.batches import TrainFeed, gather
from common.data.dataset import Dataset
from common.data.preprocess import preprocess
from common.data.spec import Spec
from common.errors import ConfigError
from common.parallel import all_finite, compile_step, replicated
from common.state import NetState
from common.training.log import Status, memory_mb
from common.types import Mean, PyTree


def make_state(algorithm: Trainable, spec: Spec, seed: int, image: ArrayLike = 0.0) -> PyTree:
  """The fresh state of (algorithm, seed), on a batch of which only the shapes and ``image`` [H, W, C] matter."""
  lead = (2,) if algorithm.batches_per_step is None else (algorithm.batches_per_step, 2)
  batch = {
    "image": jnp.broadcast_to(jnp.asarray(image, jnp.float32), (*lead, *spec.image_shape)),
    **{row.name: jnp.zeros((*lead, *row.shape), row.dtype) for row in spec.rows},
    "index": jnp.broadcast_to(jnp.arange(2, dtype=jnp.int32), lead),
  }
  return algorithm.init(random.stream(jax.random.key(seed), "init"), batch)


def state_shapes(algorithm: Trainable, spec: Spec, seed: int, mesh: Mesh) -> PyTree:
  """The state as ShapeDtypeStructs, replicated over ``mesh``."""
  return _replicated_shapes(jax.eval_shape(lambda: make_state(algorithm, spec, seed)), mesh)


def _replicated_shapes(tree: PyTree, mesh: Mesh) -> PyTree:
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(mesh)), tree)


# Not level 0: there, XLA's CPU code for some training steps reads memory that nothing has written (jax 0.10.2).
QUICK = {"xla_backend_optimization_level": 1, "xla_llvm_disable_expensive_passes": True}
if jax.__version_info__ < (0, 11):  # later ones refuse the option
  QUICK["xla_cpu_use_fusion_emitters"] = False


def quick_compilation() -> dict[str, Any] | None:
  """compiler_options for what runs once: on a CPU, optimising an initialiser's draws takes far longer than drawing."""
  return QUICK if jax.default_backend() == "cpu" else None


class Program:
  """An algorithm on its data and devices: placed arrays and compiled functions, but no state."""

  def __init__(self, algorithm: Trainable, dataset: Dataset, config: Any, mesh: Mesh):
    train = config.train
    self.algorithm, self.config, self.mesh, self.dataset = algorithm, config, mesh, dataset
    self.feed = TrainFeed(
      dataset.train,
      mesh,
      batch_size=train.batch_size,
      batches_per_step=algorithm.batches_per_step,
      steps_per_call=train.steps_per_call,
      seed=config.seed,
      resident_mb=config.data.resident_mb,
    )
    self.train_call = compile_step(self._train_call, mesh, config.parallel.mode, batch_axis=self.feed.batch_axis)
    image = dataset.mean_image if getattr(algorithm, "starts_at_mean", False) else 0.0
    self._init = jax.jit(
      lambda: make_state(algorithm, dataset.spec, config.seed, image),
      out_shardings=replicated(mesh),
      compiler_options=quick_compilation(),
    )
    self.finite = jax.jit(all_finite)

  @property
  def key(self) -> jax.Array:
    """The run's key; made inside what is compiled, since one made outside costs a start four small compilations."""
    return jax.random.key(self.config.seed)

  @functools.cached_property
  def _traced_init(self) -> jax.stages.Traced:
    return self._init.trace()

  def init(self) -> PyTree:
    """A fresh state on all devices; an algorithm with a method ``start`` makes it from the training split."""
    state, start = self._traced_init.lower().compile()(), getattr(self.algorithm, "start", None)
    return start(state, self.dataset.train) if start else state

  def state_shapes(self) -> PyTree:
    """The template that a checkpoint is restored to.

    Raises:
      ConfigError: an array of size 0, or what the networks refuse while they are traced.
    """
    shapes = _replicated_shapes(self._traced_init.out_info, self.mesh)
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
      if leaf.size == 0:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        raise ConfigError(f"{name} would have the shape {leaf.shape}: a size or width in the config is 0")
    return shapes

  def _train_call(self, state: PyTree, data: PyTree, inputs: PyTree) -> tuple[PyTree, dict[str, Mean]]:
    """steps_per_call steps; metrics are stacked, one row a step."""
    return lax.scan(lambda state, inputs: self._train_step(state, data, inputs), state, inputs)

  def _train_step(self, state: PyTree, data: PyTree, inputs: PyTree) -> tuple[PyTree, dict[str, Mean]]:
    rng = jax.random.fold_in(self.key, state.step)
    data_rng = random.stream(rng, "data")

    def prepare(inputs: PyTree, rng: jax.Array) -> PyTree:
      return preprocess(gather(data, inputs), rng, self.dataset.spec, self.config.data, train=True)

    if self.algorithm.batches_per_step is None:
      batch = prepare(inputs, data_rng)
    else:
      turns = jnp.arange(self.algorithm.batches_per_step)
      batch = jax.vmap(lambda i, turn: prepare(i, jax.random.fold_in(data_rng, turn)))(inputs, turns)
    return self.algorithm.train_step(state, batch, random.stream(rng, "step"))


def check(program: Program, status: Status, calls: int = 3) -> dict[str, float]:
  """Builds and compiles everything and runs a few calls, without a workdir; figures for a person to plan with."""
  start = time.monotonic()
  figures: dict[str, float] = {}
  feed, call, train = program.feed, program.train_call, program.config.train
  with status.phase("initialising and compiling"):
    state = program.init()
    for name, size in _parameters(state).items():
      figures[f"parameters of {name}"] = size
    if hasattr(call, "lower"):  # pmap's is a plain function
      call = call.lower(state, feed.data, feed(0)).compile()
      memory = call.memory_analysis()
      if memory is not None:
        used = memory.argument_size_in_bytes + memory.temp_size_in_bytes + memory.output_size_in_bytes
        figures["device memory, MB"] = (used - memory.alias_size_in_bytes) / 2**20
    state, metrics = call(state, feed.data, feed(0))
    jax.block_until_ready(metrics)
    figures["seconds to the first call's end"] = time.monotonic() - start
    start = time.monotonic()
    for i in range(1, calls + 1):
      state, metrics = call(state, feed.data, feed(i * train.steps_per_call))
      jax.block_until_ready(metrics)
  seconds = (time.monotonic() - start) / (calls * train.steps_per_call)
  figures["milliseconds a step"] = 1e3 * seconds
  figures["images a second"] = train.batch_size / seconds
  figures["minutes for all steps"] = seconds * train.num_steps / 60
  figures["process memory, MB"] = memory_mb()
  return figures


def _parameters(state: PyTree) -> dict[str, int]:
  nets = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
  return {
    name: sum(x.size for x in jax.tree.leaves(net.params)) for name, net in nets.items() if isinstance(net, NetState)
  }
