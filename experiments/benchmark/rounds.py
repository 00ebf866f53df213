"""One case: both sides in turn, in bursts, so that what else the machine does hits all alike."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from experiments.benchmark.processes import Side, SideError

PEAK_SIZE = 2048


@dataclasses.dataclass(frozen=True)
class Plan:
  """How a case is measured.

  Attributes:
    variants: of the torch side; empty for the JAX side alone.
    rounds: bursts of each side.
    seconds: a burst's length; a side rounds it up to whole steps or calls.
    tiny: the case's small form.
    startup: whether start-up is measured, which starts each side twice more.
    scratch: a directory for data, compiled code and logs.
    say: prints a line for a person.
  """

  variants: tuple[str, ...]
  rounds: int
  seconds: float
  tiny: bool
  startup: bool
  scratch: Path
  say: Callable[[str], None]


class Contest:
  """Case ``name`` under ``changes``, its data written and its config resolved.

  Attributes:
    settings: the resolved config, for the torch side.
    overrides: {dotted path: value}, what of it differs from the case's config.
  """

  def __init__(self, name: str, plan: Plan, changes: Mapping[str, Any] | None = None):
    self.name, self.plan = name, plan
    self._images = plan.scratch / "images.npy"
    self._spec = {"case": name, "tiny": plan.tiny, "devices": 0, "changes": dict(changes or {})}
    self._preparation = Side({**self._spec, "side": "preparation"}, plan.scratch)
    prepared = self._preparation.ask("prepare", images=str(self._images))
    self.settings, self.overrides = prepared["settings"], prepared["overrides"]
    self._spec["changes"] = prepared["changes"]

  def differences(self) -> dict[str, float]:
    """How far the two sides are apart on the same parameters and data, see equality.py."""
    return self._preparation.ask("compare")

  def __enter__(self) -> "Contest":
    return self

  def __exit__(self, *_: object) -> None:
    self._preparation.close()

  def side(self, name: str, *, compiled: str = "compiled", **spec: Any) -> Side:
    """Starts the worker of "jax" or of a torch variant.

    Raises:
      SideError: it could not be built.
    """
    if name != "jax":
      spec |= {"settings": self.settings, "images": str(self._images)}
    return Side({**self._spec, "side": name, **spec}, self.plan.scratch, compiled=compiled)

  def measure(self, variants: tuple[str, ...]) -> dict[str, Any]:
    """The raw figures: "bursts" {side: [[images, seconds], ...]}, and what else is asked once.

    A torch variant that cannot run is in "unavailable" with the reason.

    Raises:
      SideError: the JAX side cannot run.
    """
    unavailable: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
      sides = dict(self._start(variants, stack, unavailable))
      bursts = in_turn({side: (worker, "burst") for side, worker in sides.items()}, self.plan)
      memory = {side: worker.ask("peak_memory_mb") for side, worker in sides.items()}
      eager = next((side for side in ("memory", "usual") if side in sides), None)
      peaks = [worker.ask("peak_gflops", size=PEAK_SIZE) for side, worker in sides.items() if side in ("jax", eager)]
      return {
        "batch_size": self.settings["train"]["batch_size"],
        "data": self.settings["data"]["name"],
        "bursts": bursts,
        "unavailable": unavailable,
        "notes": {side: note for side in sides if side != "jax" and (note := sides[side].ask("note"))},
        "peak_memory_mb": memory,
        "peak_gflops": max(peaks),
        "flops_per_step": sides[eager].ask("flops") if eager else None,
      }

  def _start(
    self, variants: tuple[str, ...], stack: contextlib.ExitStack, unavailable: dict[str, str]
  ) -> Iterator[tuple[str, Side]]:
    for name in ("jax", *variants):
      try:
        worker = self.side(name)
      except SideError as error:
        if name == "jax":
          raise
        unavailable[name] = str(error)
        continue
      stack.callback(worker.close)
      yield name, worker


def in_turn(sides: Mapping[str, tuple[Side, str]], plan: Plan) -> dict[str, list[list[float]]]:
  """Bursts of each (worker, command), a round at a time: {name: [[images, seconds], ...]}."""
  images = {name: _burst_size(worker, command, plan.seconds) for name, (worker, command) in sides.items()}
  bursts: dict[str, list[list[float]]] = {name: [] for name in sides}
  for _ in range(plan.rounds):
    for name, (worker, command) in sides.items():
      burst = worker.ask(command, images=images[name])
      bursts[name].append([burst["images"], burst["seconds"]])
  return bursts


def _burst_size(worker: Side, command: str, seconds: float) -> int:
  """How many images the side takes in that time, from two trial bursts: the first may still compile."""
  trial = worker.ask(command, images=1)
  trial = worker.ask(command, images=max(1, round(0.25 * seconds * trial["images"] / trial["seconds"])))
  return max(1, round(seconds * trial["images"] / trial["seconds"]))
