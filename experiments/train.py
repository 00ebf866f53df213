"""Trains a config: python -m experiments.train --config=dcgan:fashion_mnist --workdir=runs/dcgan [--config.a.b=value]

The same command goes on where the workdir stops. Exit codes: 0 done; 2 a setting that cannot be used, or something that
the command needs and does not get (a workdir, a checkpoint, room on the disk, memory, a device, another process); 3 a
loss, gradient, parameter or validation score is not finite; 75 stopped by a signal, everything saved; 1 a fault of the
program, with its traceback in a file; 130 Ctrl-C before the first step; 141 nobody reads what it prints.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from absl import flags

from common.errors import ConfigError
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
  flags.DEFINE_string("workdir", "", "directory of the run; made where it is missing, resumed where it is not")
  flags.DEFINE_bool(
    "check", False, "build, compile, run a few steps, print size, memory and time, and stop; no workdir is made"
  )
  flags.DEFINE_string(
    "profile", "", "START:STOP, steps to trace with jax.profiler into WORKDIR/profile; START is after the first call"
  )
  flags.DEFINE_string("init_from", "", "workdir of a run of the same networks whose weights are the start")
  flags.DEFINE_integer(
    "devices", 0, "that many virtual devices on a CPU, for trying things out; 0 for the real ones", lower_bound=0
  )
  flags.DEFINE_string(
    "coordinator", "", "host:port of process 0 of several; empty under SLURM and other known schedulers"
  )
  flags.DEFINE_integer(
    "num_processes", 0, "processes of this run; 0 for one, or what the scheduler says", lower_bound=0
  )
  flags.DEFINE_integer("process_id", 0, "which of them this is", lower_bound=0)


def main() -> int:
  config = command_line.checked(FLAGS.config)
  _check_processes()
  profile = _profile_steps(config)
  if not FLAGS.check:
    command_line.required("workdir")

  import numpy  # noqa: F401  # here: two threads that import it at once may get half of it

  from common.data.latents import is_latents

  reading = None
  if not is_latents(config.data.name):  # those may not be there yet
    reading = ThreadPoolExecutor(1).submit(_read_dataset, config.data)  # unpacking runs beside the imports, as long
  import jax

  from common import parallel
  from common.training.log import Status
  from experiments import api
  from experiments.command_line import compilation_cache

  _start_devices()
  status = Status(enabled=jax.process_index() == 0)
  compilation_cache.start(status)
  parallel.check_devices(config.parallel.mode, config.train.batch_size)
  with status.phase("reading the data set"):
    dataset = reading.result() if reading else None
  if not FLAGS.check:
    api.train(config, FLAGS.workdir, init_from=FLAGS.init_from, profile=profile, dataset=dataset, status=status)
    return 0
  figures = api.check(config, dataset=dataset, status=status)
  for name, value in figures.items() if jax.process_index() == 0 else ():
    print(f"{name}: {value:,.0f}" if value >= 100 else f"{name}: {value:,.2f}")
  return 0


def _read_dataset(data: Any) -> Any:
  from common.data.dataset import open_dataset

  dataset = open_dataset(data)
  _ = dataset.spec  # a property that reads the training split, and keeps it
  return dataset


def _start_devices() -> None:
  """Virtual devices and other processes; before anything touches JAX's devices."""
  import jax

  from common import parallel
  from common.training.log import Status

  say = Status(enabled=True).line
  if FLAGS.devices:
    jax.config.update("jax_num_cpu_devices", FLAGS.devices)
  if FLAGS.num_processes:
    parallel.start_processes(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id, say)
  elif parallel.under_scheduler():
    parallel.start_processes("", 0, 0, say)


def _check_processes() -> None:
  """Raises ConfigError for a set of processes that cannot be."""
  address, count, process = FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id
  if address and not address.rpartition(":")[2].isdigit():
    raise ConfigError(f"--coordinator={address} is not host:port")
  if bool(address) != bool(count):
    raise ConfigError(f"--num_processes={count} and --coordinator={address} go together; give both or neither")
  if process >= max(count, 1):
    raise ConfigError(f"--process_id={process} is not one of 0 .. {max(count, 1) - 1}, as --num_processes={count} says")


def _profile_steps(config: Any) -> tuple[int, int] | None:
  """(start, stop) of --profile.

  Raises:
    ConfigError: steps that no trace can have, with the nearest ones that it can.
  """
  if not FLAGS.profile:
    return None
  if FLAGS.check:
    raise ConfigError(f"--profile={FLAGS.profile} traces steps of a run, and --check makes none; drop one of the two")
  start, colon, stop = FLAGS.profile.partition(":")
  if not (colon and start.isdecimal() and stop.isdecimal()):
    raise ConfigError(f"--profile={FLAGS.profile} is not START:STOP, two whole numbers of steps, as in 100:120")
  call, last = config.train.steps_per_call, config.train.num_steps
  begin, end = int(start), int(stop)
  if 0 < begin < end <= last and begin % call == 0 and end % call == 0:
    return begin, end
  rule = (
    f"--profile={FLAGS.profile}: both must be multiples of config.train.steps_per_call={call}, with 0 < START (the "
    f"first call compiles) < STOP <= config.train.num_steps={last}"
  )
  if last < 2 * call:
    raise ConfigError(f"{rule}; all steps are in the first call: lower config.train.steps_per_call")
  begin = min(max(begin + -begin % call, call), last - call)
  end = min(max(end + -end % call, begin + call), last)
  raise ConfigError(f"{rule}; use --profile={begin}:{end}")


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags, takes_config=True)
