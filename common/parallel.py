"""Parallel execution: the mesh, start-up of processes, placement of arrays, and three ways to compile a step.

A step is written once, for one batch. In mode ``jit`` it receives the global batch, which the compiler shards; in
``shard_map`` and ``pmap`` it receives one device's rows, and every statistic over the batch is computed by `batch_mean`
or `batch_gather`, which are the identity if ``axis_name`` is None.
"""

import atexit
import concurrent.futures
import contextlib
import functools
import json
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from common.errors import ConfigError
from common.types import Array, PyTree

T = TypeVar("T")
AXIS = "data"
START_SECONDS, SAY_SECONDS = 120, 8  # how long processes wait for each other, and how often they report it
MODES = ("jit", "shard_map", "pmap")


def batch_mean(tree: PyTree, axis_name: str | None) -> PyTree:
  """Averages per-device means over the devices; the identity for the global view."""
  return lax.pmean(tree, axis_name) if axis_name else tree


def batch_gather(x: Array, axis_name: str | None) -> Array:
  """Gathers the rows of the global batch, [B / devices, ...] -> [B, ...]; the identity for the global view."""
  return lax.all_gather(x, axis_name, tiled=True) if axis_name else x


def start_processes(coordinator: str, num_processes: int, process_id: int, say: Callable[[str], None]) -> None:
  """Connects the processes of one run; under SLURM and other schedulers that JAX supports, arguments may be empty.

  If a process dies, the others end within about 15 s with JAX's own message. ``say`` is called while this one waits.

  Raises:
    ConfigError: not all processes connected in time.
  """

  joined: concurrent.futures.Future[None] = concurrent.futures.Future()

  def join() -> None:
    try:
      jax.distributed.initialize(
        coordinator_address=coordinator or None,
        num_processes=num_processes if coordinator else None,
        process_id=process_id if coordinator else None,
        heartbeat_timeout_seconds=10,
        initialization_timeout=2 * START_SECONDS,  # JAX itself would end the wait by SIGABRT
      )
      joined.set_result(None)
    except Exception as error:
      joined.set_exception(error)

  who = f"process {process_id} of {num_processes} at {coordinator}" if coordinator else "this process"
  threading.Thread(target=join, daemon=True).start()  # C++ handles neither Ctrl-C nor the end of the process
  for waited in range(0, START_SECONDS, SAY_SECONDS):
    with contextlib.suppress(concurrent.futures.TimeoutError):
      return joined.result(timeout=SAY_SECONDS)
    say(f"{who} waits for the others, {waited + SAY_SECONDS} s of {START_SECONDS}")
  atexit.register(os._exit, 2)  # otherwise JAX's service delays the exit and prints lines of its own
  raise ConfigError(
    f"{who} waited {START_SECONDS} s for the others, which did not all come\n"
    "Start all of them within that time, with one --coordinator that all can reach and --process_id=0, 1, ..."
  )


def under_scheduler() -> bool:
  """Returns whether a scheduler that JAX supports started this process as one of several."""
  slurm = "SLURM_STEP_NODELIST" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1
  return slurm or int(os.environ.get("OMPI_COMM_WORLD_SIZE", "1")) > 1


def make_mesh(num_devices: int = 0) -> Mesh:
  """Makes a mesh of the first ``num_devices`` devices on one axis; 0 takes all devices of all processes."""
  devices = jax.devices()[: num_devices or None]
  return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def check_devices(mode: str, batch_size: int) -> None:
  """Raises ConfigError if the batch does not divide over the devices or the mode cannot run here."""
  if batch_size % jax.device_count():
    spare = batch_size + -batch_size % jax.device_count()
    raise ConfigError(
      f"config.train.batch_size={batch_size} does not divide over {jax.device_count()} devices; "
      f"use a multiple of {jax.device_count()}, e.g. --config.train.batch_size={spare}"
    )
  if mode == "pmap" and jax.process_count() > 1:
    raise ConfigError(
      "config.parallel.mode=pmap runs in one process; use --config.parallel.mode=jit or "
      "--config.parallel.mode=shard_map for several"
    )


def axis_name_of(mode: str) -> str | None:
  """Returns the axis name to build a model with: None for the global view."""
  return None if mode == "jit" else AXIS


def replicated(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, P())


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
  """Copies host arrays, which are equal on every process, to all devices."""
  # device_put would send the arrays to all processes to check that they agree.
  place = replicated(mesh)
  return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, place, lambda index: x[index]), tree)


def from_process_0(
  work: Callable[[], T], errors: Sequence[type[Exception]], before: Callable[[], None] | None = None
) -> T:
  """Runs ``work`` on process 0 and returns its JSON value, or raises its error, on every process.

  Such an error has ``on_every_process`` set to True: a handler need not end the other processes.

  Args:
    work: runs on process 0 only.
    errors: classes that are raised as themselves, the most specific first; other errors are raised as the last class.
    before: called before the result is sent; a barrier with a time limit, which the broadcast lacks.
  """
  if jax.process_count() == 1:
    return work()
  text = ""
  if jax.process_index() == 0:
    try:
      outcome: dict[str, Any] = {"value": work()}
    except Exception as error:  # of any class: the other processes wait for an answer
      kind = next((i for i, kind in enumerate(errors) if isinstance(error, kind)), len(errors) - 1)
      outcome = {"error": str(error), "kind": kind}
    text = json.dumps(outcome)
  if before:
    before()
  length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
  padded = np.frombuffer(text.ljust(length).encode("ascii"), np.uint8)  # json.dumps gives ASCII
  outcome = json.loads(np.asarray(multihost_utils.broadcast_one_to_all(padded)).astype(np.uint8).tobytes())
  if "error" in outcome:
    shared: Any = errors[outcome["kind"]](outcome["error"])
    shared.on_every_process = True
    raise shared
  return outcome["value"]


def local_rows(batch_size: int) -> slice:
  """Returns the rows of the global batch that belong to this process."""
  per_process = batch_size // jax.process_count()
  return slice(jax.process_index() * per_process, (jax.process_index() + 1) * per_process)


def place_batch(tree: PyTree, mesh: Mesh, batch_axis: int) -> PyTree:
  """Turns this process's rows (`local_rows` along ``batch_axis``) into global arrays split over the devices."""
  sharding = NamedSharding(mesh, _split(batch_axis))
  return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree)


def split_rows(tree: PyTree, mesh: Mesh) -> PyTree:
  """Splits host arrays [B, ...], equal on every process, over the devices; B must be divisible by their number."""
  place = NamedSharding(mesh, _split(0))
  return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, place, lambda index: x[index]), tree)


def to_host(tree: PyTree) -> PyTree:
  """Fetches global arrays as whole numpy arrays on every process."""

  def fetch(x: Array) -> np.ndarray:
    if x.is_fully_addressable or x.is_fully_replicated:
      return np.asarray(x)
    return np.asarray(multihost_utils.process_allgather(x, tiled=True))

  return jax.tree.map(fetch, tree)


def _split(batch_axis: int) -> P:
  return P(*([None] * batch_axis), AXIS)


@functools.cache
def compiler_options() -> dict[str, str] | None:
  """Returns compiler options for large programs; they affect speed only.

  On a CPU, YNNPACK runs the matrix products and reductions, and XLA the convolutions, up to 1.4 times as fast as
  YNNPACK. Versions of XLA without the option get none.
  """
  if jax.default_backend() != "cpu":
    return None
  options = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"}
  try:
    jax.jit(lambda: jnp.zeros(()), compiler_options=options).lower().compile()
  except jax.errors.JaxRuntimeError:
    return None
  return options


def compile_step(
  fn: Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]],
  mesh: Mesh,
  mode: str,
  *,
  batch_axis: int,
  donate: bool = True,
) -> Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]:
  """Compiles ``fn(state, data, batch) -> (state, sums)`` for the mesh.

  Args:
    fn: a pure function, written for the view that `axis_name_of(mode)` gives.
    mesh: from `make_mesh`.
    mode: one of MODES. pmap is for comparison only: it donates no memory and runs in one process.
    batch_axis: the axis of every leaf of ``batch`` that is split over devices. State and data are replicated.
    donate: whether the old state's memory may be reused.

  Returns:
    The compiled function, which adds ``sums`` (trees of totals and counts) over the devices.
  """
  keep, split = P(), _split(batch_axis)
  donated = (0,) if donate else ()
  if mode == "jit":
    place = (replicated(mesh), replicated(mesh), NamedSharding(mesh, split))
    return jax.jit(
      fn,
      in_shardings=place,
      out_shardings=replicated(mesh),
      donate_argnums=donated,
      compiler_options=compiler_options(),
    )

  def per_device(state: PyTree, data: PyTree, batch: PyTree) -> tuple[PyTree, PyTree]:
    state, sums = fn(state, data, batch)
    return state, lax.psum(sums, AXIS)

  if mode == "shard_map":
    # check_vma=False: gradients stay per device until apply_gradients averages them. With the check, JAX would sum
    # them implicitly, and the mean would be too large by a factor of the number of devices.
    mapped = jax.shard_map(per_device, mesh=mesh, in_specs=(keep, keep, split), out_specs=(keep, keep), check_vma=False)
    return jax.jit(mapped, donate_argnums=donated, compiler_options=compiler_options())
  if mode == "pmap":
    devices = list(mesh.devices.flat)
    mapped = jax.pmap(per_device, AXIS, in_axes=(None, None, batch_axis), out_axes=(None, None), devices=devices)

    def call(state: PyTree, data: PyTree, batch: PyTree) -> tuple[PyTree, PyTree]:
      return mapped(state, data, jax.tree.map(lambda x: _per_device(x, batch_axis, len(devices)), batch))

    return call
  raise ConfigError(f'config.parallel.mode="{mode}" is not one of {", ".join(MODES)}')


def _per_device(x: Array, axis: int, devices: int) -> Array:
  """Reshapes [..., B, ...] to [..., devices, B / devices, ...] for pmap."""
  return x.reshape(x.shape[:axis] + (devices, x.shape[axis] // devices) + x.shape[axis + 1 :])


def all_finite(tree: PyTree) -> dict[str, Array]:
  """Returns {path: whether every element is finite} for the floating-point leaves."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {
    jax.tree_util.keystr(path): jnp.all(jnp.isfinite(leaf))
    for path, leaf in leaves
    if jnp.issubdtype(leaf.dtype, jnp.floating)
  }
