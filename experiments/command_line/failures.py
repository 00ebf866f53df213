"""Ends a command that cannot go on: prints at most three lines, with the way out, and returns an exit code."""

import contextlib
import errno
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable

from absl import flags

from common.errors import ConfigError, Interrupted, NonFiniteError
from common.training.lock import LockedError
from common.training.manifest import CheckpointError

EXIT_FAULT = 1  # of the program; its traceback is in a file
EXIT_REFUSED = 2  # a setting, a full disk, too little memory, an absent device, another process
EXIT_NON_FINITE = 3
EXIT_INTERRUPTED = 75  # EX_TEMPFAIL: stopped by a signal, everything saved; start the same command again
EXIT_CTRL_C = 130
EXIT_NO_READER = 141  # as in | head

_MAKE_ROOM = "Free some space, and start the same command again; what was written before is whole."
_ANOTHER_PLACE = "Allow it, or name another place."
_WAYS_OUT = {
  errno.ENOSPC: _MAKE_ROOM,
  errno.EDQUOT: _MAKE_ROOM,
  errno.EFBIG: "Raise the limit on the size of a file (ulimit -f), and start the same command again.",
  errno.EROFS: _ANOTHER_PLACE,
  errno.EACCES: _ANOTHER_PLACE,
  errno.EPERM: _ANOTHER_PLACE,
  errno.ENAMETOOLONG: _ANOTHER_PLACE,
  errno.ENOENT: "Bring it back, or name another place.",
  errno.ENOTDIR: "Name another place.",
  errno.EISDIR: "Name another place.",
  errno.EMFILE: "Raise the limit on open files (ulimit -n), and start the same command again.",
  errno.EIO: "Look at the disk, and start the same command again.",
  errno.ESTALE: "Look at the network file system, and start the same command again.",
}
_LOST = re.compile(  # in JAX's errors when another process is gone
  "gloo|nccl|coordination service|heartbeat|barrier|deadline_exceeded|(connection|socket) (reset|closed|refused)",
  re.IGNORECASE,
)
_OWN_FLAGS = {  # of commands without --config: the field of a config that each flag sets
  "data_dir": "data.dir",
  "dataset": "data.name",
  "reference": "data.name",
  "source": "data.name",
  "image_size": "data.image_size",
  "image_width": "data.image_width",
  "resize": "data.resize",
  "channels": "data.channels",
  "metrics": "metrics",
  "features": "evaluate.features",
  "num_samples": "evaluate.num_samples",
}


def exit_code(command: Callable[[], int]) -> int:
  """Runs ``command``; returns its exit code, or that of the error that stopped it, which is explained on stderr."""
  try:
    code = command()
    sys.stdout.flush()  # otherwise a full disk behind it would show after the last line of this program
    return code
  except BrokenPipeError:
    return EXIT_NO_READER
  except KeyboardInterrupt:
    _print_error("interrupted")
    return EXIT_CTRL_C
  except (Interrupted, NonFiniteError) as error:  # raised on every process alike
    if not _is_one_of_several() or sys.modules["jax"].process_index() == 0:
      print(f"error: {error}" if isinstance(error, NonFiniteError) else error, file=sys.stderr, flush=True)
    return EXIT_NON_FINITE if isinstance(error, NonFiniteError) else EXIT_INTERRUPTED
  except Exception as error:
    explanation = explained(error)
    _print_error(explanation or f"{_one_line(error)}\nThis is a fault of the program. {_keep_traceback()}")
    code = EXIT_REFUSED if explanation else EXIT_FAULT
    if _is_one_of_several() and not getattr(error, "on_every_process", False):
      os._exit(code)  # this ends the other processes, which would wait for minutes after an orderly end
    return code
  finally:
    try:
      sys.stdout.flush()
    except OSError:  # otherwise Python would try again at exit, fail, and change the exit code
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def explained(error: Exception) -> str:
  """Explains an error whose cause lies outside the program; returns "" for any other."""
  if isinstance(error, ConfigError | CheckpointError | LockedError):
    return in_own_flags(str(error))
  if isinstance(error, OSError) and error.errno in _WAYS_OUT:
    written = [flags.FLAGS[name].value for name in ("workdir", "out", "root") if name in flags.FLAGS]
    place = error.filename or next(filter(None, written), "the output")
    return f"{place}: {error.strerror}\n{_WAYS_OUT[error.errno]}"
  if isinstance(error, MemoryError) or re.search("RESOURCE_EXHAUSTED|out of memory", str(error), re.IGNORECASE):
    return f"out of memory: {_one_line(error)}\n{_less_memory()}"
  if _is_one_of_several() and type(error).__name__ == "JaxRuntimeError" and _LOST.search(str(error)):
    return f"another process of the run ended: {_one_line(error)}\nSee what it said, and start all of them again."
  frames = traceback.extract_tb(error.__traceback__)
  if frames and frames[-1].filename.endswith("xla_bridge.py"):  # an assertion in JAX 0.10, a RuntimeError in others
    asked = os.environ.get("JAX_PLATFORMS", "")
    return (
      f"JAX_PLATFORMS={asked}: there is no such device here ({_one_line(error)})\nUse JAX_PLATFORMS=cpu, or unset it."
    )
  return ""


def in_own_flags(text: str) -> str:
  """Rewrites an error about config fields in terms of the flags of a command that has no --config."""
  if "config" in flags.FLAGS:
    return text
  text, *command = re.split(r"(?=python -m experiments\.train )", text, maxsplit=1)  # it has the fields
  for flag, field in _OWN_FLAGS.items():
    if flag in flags.FLAGS and flags.FLAGS[flag].value is not None:
      text = re.sub(rf"(--)?config\.{re.escape(field)}\b", f"--{flag}", text)
  return re.sub(r"(?<!train with )--config\.", "experiments.train with --config.", text) + "".join(command)


def _is_one_of_several() -> bool:
  jax = sys.modules.get("jax")
  return jax is not None and jax.distributed.is_initialized()


def _less_memory() -> str:
  if "config" in flags.FLAGS:
    batch = flags.FLAGS.config.train.batch_size
    return (
      f"Use more devices, a --config.train.batch_size below {batch} (of a run that saved a step: in a new --workdir, "
      "with --init_from) or smaller networks; --config.data.resident_mb=0 keeps the data set off the device."
    )
  counts = [f"--{name} below {flags.FLAGS[name].value}" for name in ("num_samples", "num") if name in flags.FLAGS]
  return f"Close what else takes memory, or ask for less: {''.join(counts) or 'a smaller data set'}."


def _one_line(error: Exception) -> str:
  text = " ".join(str(error).split())
  return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def _print_error(text: str) -> None:
  """Prints at most three lines on stderr; from the third on, lines are joined."""
  first, *rest = text.splitlines()
  rest = [rest[0], "; ".join(line.strip() for line in rest[1:])] if len(rest) > 2 else rest
  with contextlib.suppress(OSError):  # nobody may listen
    print("\n".join([f"error: {first}", *rest]), file=sys.stderr, flush=True)


def _keep_traceback() -> str:
  try:
    with tempfile.NamedTemporaryFile("w", prefix="traceback-", suffix=".txt", delete=False, encoding="utf-8") as file:
      traceback.print_exc(file=file)
    return f"Its traceback is in {file.name}."
  except OSError:
    traceback.print_exc()
    return ""
