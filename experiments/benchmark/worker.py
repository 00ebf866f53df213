"""One side in a process of its own, started by processes.py: python -m experiments.benchmark.worker '{"side": ...}'.

It takes its first training step, says so, and then answers one JSON line on standard output for each on standard input:
{"command": NAME, ...arguments} -> {"result": ...} or {"error": TEXT}. The torch sides import no JAX.
"""

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO


def peak_memory_mb() -> float:
  """The largest resident set of this process so far."""
  status = Path("/proc/self/status")
  if status.exists():  # ru_maxrss counts what the parent had before exec as well
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10
  import resource

  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _jax_side(spec: Mapping[str, Any]) -> Any:
  import jax

  from experiments.benchmark.cases import resolve
  from experiments.benchmark.jax_side import JaxSide

  if spec["devices"]:
    jax.config.update("jax_num_cpu_devices", spec["devices"])
  return JaxSide(resolve(spec["case"], tiny=spec["tiny"], **spec["changes"]))


def _torch_side(spec: Mapping[str, Any]) -> Any:
  import numpy as np

  from experiments.benchmark.torch_side import TorchSide

  return TorchSide(spec["settings"], np.load(spec["images"]), spec["side"])


def _preparation(spec: Mapping[str, Any]) -> Any:
  from experiments.benchmark.preparation import Preparation

  return Preparation(spec["case"], spec["tiny"], spec["changes"])


def _extra(spec: Mapping[str, Any]) -> Any:
  """A side of an extra, "module:Class" in ``spec``."""
  module, name = spec["side"].split(":")
  return getattr(importlib.import_module(f"experiments.benchmark.extras.{module}"), name)(spec)


SIDES: dict[str, Callable[[Mapping[str, Any]], Any]] = {
  "jax": _jax_side,
  "usual": _torch_side,
  "memory": _torch_side,
  "compile": _torch_side,
  "preparation": _preparation,
}


def serve(spec: Mapping[str, Any], commands: TextIO, answers: TextIO) -> None:
  """Builds the side and answers until the commands end; an error is answered, and is the last answer."""

  def answer(compute: Callable[[], Any]) -> None:
    try:
      reply = {"result": compute()}
    except Exception as error:  # of any kind: the parent reports it
      text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
      reply = {"error": text[:300]}
    print(json.dumps(reply), file=answers, flush=True)
    if "error" in reply:
      raise SystemExit(1)

  built: list[Any] = []
  answer(lambda: built.append(SIDES.get(spec["side"], _extra)(spec)))
  for line in commands:
    request = json.loads(line)
    name = request.pop("command")
    action = peak_memory_mb if name == "peak_memory_mb" else getattr(built[0], name)
    answer(lambda: action(**request))  # noqa: B023 - called at once


if __name__ == "__main__":
  # What libraries print must not come between the answers.
  with contextlib.closing(os.fdopen(os.dup(1), "w")) as to_parent:
    os.dup2(2, 1)
    serve(json.loads(sys.argv[1]), sys.stdin, to_parent)
