"""From raw figures to a table: medians, quartiles and ratios of rounds."""

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Bursts = Mapping[str, Sequence[Sequence[float]]]  # {side: [[images, seconds], ...]}, a burst a round


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
  """(first quartile, median, third quartile); of one value, that value."""
  if len(values) == 1:
    return values[0], values[0], values[0]
  first, middle, third = statistics.quantiles(values, n=4, method="inclusive")
  return first, middle, third


def summarize(bursts: Bursts) -> dict[str, Any]:
  """Speeds and ratios of one case.

  Returns:
    "images_per_second": {side: {"median", "quartiles"}}; "best": the torch variant with the highest median; "ratios":
    {variant: median over the rounds of JAX's speed over that variant's in the same round}. Without a torch side the
    last two are empty.
  """
  speeds = {side: [images / seconds for images, seconds in rounds] for side, rounds in bursts.items()}
  figures: dict[str, dict[str, Any]] = {}
  for side, values in speeds.items():
    first, middle, third = quartiles(values)
    figures[side] = {"median": middle, "quartiles": [first, third]}
  variants = [side for side in speeds if side != "jax"]
  ratios = {
    side: statistics.median(jax / torch for jax, torch in zip(speeds["jax"], speeds[side], strict=True))
    for side in variants
  }
  best = max(variants, key=lambda side: figures[side]["median"], default="")
  return {"images_per_second": figures, "best": best, "ratios": ratios}


def utilisation(speed: float, flops_per_step: float, batch_size: int, peak_gflops: float) -> float:
  """The share of the machine's measured matrix-product peak that the counted operations use."""
  return speed * flops_per_step / batch_size / (1e9 * peak_gflops)


def table(rows: Sequence[Sequence[str]]) -> str:
  """Markdown; the first row is the heading."""
  heading, *body = rows
  lines = [heading, ["---"] * len(heading), *body]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def document(results: Mapping[str, Any]) -> str:
  """table.md: speeds, then what else was measured, then how."""
  cases = results["cases"]
  measured = {name: case for name, case in cases.items() if "bursts" in case}
  parts = []
  if measured:
    parts.append(table([_SPEED_HEADING, *(_speed_row(name, case) for name, case in measured.items())]))
    parts.append(table([_MEMORY_HEADING, *(_memory_row(name, case) for name, case in measured.items())]))
  if any("differences" in case for case in cases.values()):
    parts.append(table([["case", "largest difference of a loss", "of a gradient", "equal"], *_equality_rows(cases)]))
  if results["extras"]:
    parts += [f"{name}\n\n{table(extra['table'])}" for name, extra in results["extras"].items()]
  parts.append("\n".join(f"- {note}" for note in [*results["protocol"], *_notes(cases)]))
  return "\n\n".join(parts) + "\n"


_SPEED_HEADING = (
  "case", "batch", "JAX, images/s", "usual", "memory", "compile", "JAX / usual", "JAX / best torch", "use of peak: JAX",
  "best torch",
)  # fmt: skip
_MEMORY_HEADING = (
  "case", "peak MB: JAX", "usual", "memory", "compile", "s to first step, cold / warm: JAX", "usual", "memory",
  "compile",
)  # fmt: skip
_VARIANTS = ("usual", "memory", "compile")


def _speed_row(name: str, case: Mapping[str, Any]) -> list[str]:
  summary = case["summary"]
  figures, best = summary["images_per_second"], summary["best"]

  def speed(side: str) -> str:
    if side not in figures:
      return "not run"
    low, high = figures[side]["quartiles"]
    return f"{figures[side]['median']:,.0f} ({low:,.0f}-{high:,.0f})"

  def use(side: str) -> str:
    return f"{case['utilisation'][side]:.0%}" if side in case["utilisation"] else "-"

  def ratio(side: str) -> str:
    return f"{summary['ratios'][side]:.2f}" if side in summary["ratios"] else "-"

  speeds = [speed(side) for side in ("jax", *_VARIANTS)]
  against_best = f"{ratio(best)} ({best})" if best else "-"
  return [name, str(case["batch_size"]), *speeds, ratio("usual"), against_best, use("jax"), use(best)]


def _memory_row(name: str, case: Mapping[str, Any]) -> list[str]:
  sides = ("jax", *_VARIANTS)
  memory = [f"{case['peak_memory_mb'][side]:,.0f}" if side in case["peak_memory_mb"] else "-" for side in sides]
  startup = case.get("startup", {})
  starts = [f"{startup[s]['cold']:.1f} / {startup[s]['warm']:.1f}" if s in startup else "-" for s in sides]
  return [name, *memory, *starts]


def _equality_rows(cases: Mapping[str, Any]) -> list[list[str]]:
  rows = []
  for name, case in cases.items():
    if "differences" in case:
      gaps = case["differences"]
      loss, gradient = (max(v for k, v in gaps.items() if k.endswith(kind)) for kind in ("loss", "gradient"))
      rows.append([name, f"{loss:.0e}", f"{gradient:.0e}", "yes" if case["equal"] else "NO: not measured"])
  return rows


def _notes(cases: Mapping[str, Any]) -> list[str]:
  """What a reader of the figures must know of single cases."""
  notes = []
  for name, case in cases.items():
    notes.append(f"{name} mirrors {case['mirrors']}" + (f"; data: {case['data']}" if "data" in case else ""))
    for kind, text in (("unavailable", "{} did not run"), ("notes", "{}")):
      notes += [f"{name}, {text.format(side)}: {why}" for side, why in case.get(kind, {}).items()]
    if "failed" in case:
      notes.append(f"{name} FAILED: {case['failed']}")
  return notes


def machine() -> dict[str, Any]:
  """What the figures were measured on."""
  versions = {}
  for package in ("jax", "jaxlib", "flax", "torch", "numpy"):
    try:
      versions[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      versions[package] = "not installed"
  cpuinfo = Path("/proc/cpuinfo")
  lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
  names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
  model = names[0] if names else platform.processor()
  return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version(), "versions": versions}
