"""DCGAN at batches of 32 to 512: milliseconds an image, which should fall with the batch."""

from typing import Any

from experiments.benchmark import report
from experiments.benchmark.rounds import Contest, Plan

BATCHES = (32, 64, 128, 256, 512)
IMAGES_PER_CALL = 320  # at most, of this project's side: about a second on two cores


def run(plan: Plan) -> dict[str, Any]:
  """Each batch size as a contest of its own."""
  figures: dict[int, dict[str, Any]] = {}
  for batch in BATCHES[:2] if plan.tiny else BATCHES:
    steps = next(steps for steps in (5, 2, 1) if steps * batch <= IMAGES_PER_CALL or steps == 1)
    with Contest("dcgan_32", plan, {"train__batch_size": batch, "train__steps_per_call": steps}) as contest:
      pass  # its process would only hold memory
    figures[batch] = report.summarize(contest.measure(plan.variants)["bursts"])
    plan.say(f"batch {batch}: done")
  sides = ("jax", *plan.variants)
  rows = [["batch", *(f"{side}, ms an image" for side in sides), "JAX / best torch"]]
  for batch, summary in figures.items():
    speeds, best = summary["images_per_second"], summary["best"]
    times = [f"{1e3 / speeds[side]['median']:.2f}" if side in speeds else "-" for side in sides]
    rows.append([str(batch), *times, f"{summary['ratios'][best]:.2f} ({best})" if best else "-"])
  return {"table": rows, "batches": figures}
