"""10,000 pictures of a DCGAN: this project's Sampler beside a no_grad loop, both in batches of 64."""

from typing import Any

from experiments.benchmark import report
from experiments.benchmark.processes import Side
from experiments.benchmark.rounds import Contest, Plan

PICTURES = 10000


def run(plan: Plan) -> dict[str, Any]:
  """Seconds for all pictures on the host; torch.compile is left out."""
  pictures = 100 if plan.tiny else PICTURES
  names = ("jax", *(name for name in plan.variants if name != "compile"))
  sides: dict[str, Side] = {}
  with Contest("dcgan_32", plan) as contest:
    pass
  try:
    for name in names:
      sides[name] = contest.side(name)
      sides[name].ask("sample", images=64)
    bursts: dict[str, list[list[float]]] = {name: [] for name in names}
    for _ in range(plan.rounds):
      for name, side in sides.items():
        burst = side.ask("sample", images=pictures)
        bursts[name].append([burst["images"], burst["seconds"]])
  finally:
    for side in sides.values():
      side.close()
  summary = report.summarize(bursts)
  rows = [["side", f"seconds for {pictures:,} pictures", "JAX's speed / this"]]
  for name in names:
    seconds = pictures / summary["images_per_second"][name]["median"]
    rows.append([name, f"{seconds:.2f}", f"{summary['ratios'][name]:.2f}" if name != "jax" else "-"])
  return {"table": rows, "bursts": bursts}
