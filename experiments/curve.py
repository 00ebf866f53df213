"""TABLE-TIER.png: two scores of a table's rows against each other, each point with its row's name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common import files


class Point(NamedTuple):
  """One row of the table."""

  label: str
  x: float
  y: float
  beside: float | None


def points(found: Sequence[dict[str, Any]], axes: Sequence[str]) -> list[Point]:
  """The finished rows that have the scores ``axes``: of x, of y, and, where there is a third, one beside the name."""
  shown = []
  for entry in found:
    scores = {line["metric"].partition("@")[0]: line["value"] for line in entry["records"]}
    if all(name in scores for name in axes):
      x, y, *beside = (scores[name] for name in axes)
      shown.append(Point(entry["row"], x, y, beside[0] if beside else None))
  return shown


def draw(shown: Sequence[Point], axes: Sequence[str], title: str, path: Path) -> None:
  """Writes the plot.

  Raises:
    ImportError: matplotlib is not installed.
  """
  import matplotlib

  matplotlib.use("agg")
  from matplotlib import pyplot

  figure, plot = pyplot.subplots(figsize=(6, 4), layout="constrained")
  ordered = sorted(shown, key=lambda point: point.x)
  plot.plot([point.x for point in ordered], [point.y for point in ordered], "o-", color="#d1495b", lw=1, ms=4)
  middle = (ordered[0].x + ordered[-1].x) / 2
  for point in ordered:
    right = point.x > middle  # where a name to the right of its point would leave the plot
    beside = "" if point.beside is None else f" ({axes[2].replace('_', ' ')}: {point.beside:g})"
    plot.annotate(
      point.label + beside,
      (point.x, point.y),
      xytext=(-4, -10) if right else (4, 5),
      textcoords="offset points",
      ha="right" if right else "left",
      fontsize=7,
      color="#243b53",
    )
  plot.set_xlabel(axes[0].replace("_", " "))
  plot.set_ylabel(axes[1].replace("_", " "))
  plot.set_title(title, fontsize=9)
  plot.margins(0.15)
  with files.replacing(path) as file:
    figure.savefig(file, dpi=110, format="png")
  pyplot.close(figure)
