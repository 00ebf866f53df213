"""Trains a config: python -m experiments.train --config=dcgan:fashion_mnist --workdir=runs/dcgan [--config.a.b=value]

The same command resumes a run that was stopped. Exit codes: 0 done; 2 a setting that cannot be used, or a resource that
is missing (a workdir, a checkpoint, disk space, memory, a device, another process); 3 a loss, gradient, parameter or
validation score is not finite; 75 stopped by a signal, everything saved; 1 a fault of the program, with its traceback
in a file; 130 Ctrl-C before the first step; 141 the reader of its output is gone.
"""

from typing import Any

from absl import flags

from common.errors import ConfigError
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
  flags.DEFINE_string("workdir", "", "directory of the run; made if it is missing, resumed if it holds a run")
  flags.DEFINE_bool("check", False, "build, compile and run a few steps, print size, memory and time; makes no workdir")
  flags.DEFINE_string(
    "profile", "", "START:STOP, steps to trace with jax.profiler into WORKDIR/profile; the first call cannot be traced"
  )
  flags.DEFINE_bool("init_partly", False, "let arrays start fresh that --init_from lacks or has in another shape")
  flags.DEFINE_string("init_from", "", "workdir of a run of the same networks whose weights a fresh run starts from")
  flags.DEFINE_integer("devices", 0, "number of virtual devices on a CPU, for tests; 0 uses real ones", lower_bound=0)
  flags.DEFINE_string("coordinator", "", "host:port of process 0 of several; empty under SLURM and other schedulers")
  flags.DEFINE_integer("num_processes", 0, "processes of this run; 0 for one, or as the scheduler says", lower_bound=0)
  flags.DEFINE_integer("process_id", 0, "the number of this process, from 0", lower_bound=0)


def main() -> int:
  config = command_line.checked(FLAGS.config)
  _check_processes()
  profile = _profile_steps(config)
  if not FLAGS.check:
    command_line.required("workdir")

  import jax

  from common.training.log import Status
  from experiments import api
  from experiments.command_line import compilation_cache

  _start_devices()
  status = Status(enabled=jax.process_index() == 0)
  compilation_cache.start(status)
  if not FLAGS.check:
    init = {"init_from": FLAGS.init_from, "init_partly": FLAGS.init_partly}
    api.train(config, FLAGS.workdir, **init, profile=profile, status=status)
    return 0
  figures = api.check(config, status=status)
  for name, value in figures.items() if jax.process_index() == 0 else ():
    print(f"{name}: {value:,.0f}" if value >= 100 else f"{name}: {value:,.2f}")
  return 0


def _start_devices() -> None:
  """Sets up virtual devices and connects processes, before anything touches JAX's devices."""
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
  """Raises ConfigError if the flags of several processes contradict each other."""
  address, count, process = FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id
  if address and not address.rpartition(":")[2].isdigit():
    raise ConfigError(f"--coordinator={address} is not host:port")
  if bool(address) != bool(count):
    raise ConfigError(f"--num_processes={count} and --coordinator={address} go together; give both or neither")
  if process >= max(count, 1):
    raise ConfigError(f"--process_id={process} is not one of 0 .. {max(count, 1) - 1}, as --num_processes={count} says")


def _profile_steps(config: Any) -> tuple[int, int] | None:
  """Parses --profile -> (start, stop).

  Raises:
    ConfigError: steps that cannot be traced; the text names the nearest ones that can.
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
