"""plot.png: every side's speed beside the fastest torch variant's, a group of bars a case."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import files

COLORS = {"jax": "#d1495b", "usual": "#9fb3c8", "memory": "#486581", "compile": "#243b53"}


def draw(cases: Mapping[str, Any], path: Path) -> None:
  """Writes the plot of the cases that have a torch side.

  Raises:
    ImportError: matplotlib is not installed.
  """
  import matplotlib

  matplotlib.use("agg")
  from matplotlib import pyplot

  shown = {name: case["summary"] for name, case in cases.items() if "summary" in case and case["summary"]["best"]}
  figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.75 * len(shown)), layout="constrained")
  height = 0.8 / len(COLORS)
  for i, (side, color) in enumerate(COLORS.items()):
    for row, summary in enumerate(shown.values()):
      figures = summary["images_per_second"]
      if side not in figures:
        continue
      unit, middle = figures[summary["best"]]["median"], figures[side]["median"]
      low, high = figures[side]["quartiles"]
      error = [[(middle - low) / unit], [(high - middle) / unit]]
      place = row + (i - 1.5) * height
      label = {"jax": "this project", "usual": "torch, usual loop"}.get(side, f"torch, {side}") if not row else ""
      axes.barh(place, middle / unit, height, xerr=error, color=color, label=label, error_kw={"lw": 0.8})
      axes.text(0.01, place, f"{middle:,.0f}/s", va="center", fontsize=7, color="white")
  axes.axvline(1.0, color="black", lw=0.8)
  axes.set_yticks(range(len(shown)), list(shown))
  axes.invert_yaxis()
  axes.set_xlabel("images a second / those of the fastest torch variant (bars: median; lines: quartiles)")
  axes.legend(fontsize=8)
  with files.replacing(path) as file:
    figure.savefig(file, dpi=120, format="png")
  pyplot.close(figure)
