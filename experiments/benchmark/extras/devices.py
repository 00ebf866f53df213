"""This project on one and on two virtual devices of the same CPU, the global batch unchanged."""

from typing import Any

from experiments.benchmark import report
from experiments.benchmark.rounds import Contest, Plan, in_turn

CASES = ("vae_mlp", "dcgan_32")
COUNTS = (1, 2)


def run(plan: Plan) -> dict[str, Any]:
  """Images a second of each count, in turn; more than the number of cores would only share them."""
  rows = [["case", *(f"images/s, {count} device(s)" for count in COUNTS), "2 / 1"]]
  figures = {}
  for case in CASES:
    with Contest(case, plan) as contest:
      sides = {count: contest.side("jax", devices=count) for count in COUNTS}
    try:
      bursts = in_turn({str(count): (side, "burst") for count, side in sides.items()}, plan)
    finally:
      for side in sides.values():
        side.close()
    # The one beside which the other's ratio is taken stands where the torch side does elsewhere.
    summary = report.summarize({"jax": bursts["2"], "1": bursts["1"]})
    one, two = (summary["images_per_second"][side]["median"] for side in ("1", "jax"))
    rows.append([case, f"{one:,.0f}", f"{two:,.0f}", f"{summary['ratios']['1']:.2f}"])
    figures[case] = bursts
  return {"table": rows, "bursts": figures}
